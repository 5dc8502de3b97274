"""A question to a served model, asked by the house on a person's behalf, through the gateway as any client would."""

from __future__ import annotations

import json

from lilong.floors.serving.contract import AskAnswer, AskAsk, DeploymentNotFound, Key, ModelBusy
from lilong.floors.serving.service.plane import Plane, key_for
from lilong.ground.access import Actor
from lilong.ground.errors import BadInput, Forbidden, Unavailable
from lilong.ground.house import House


def key(house: House, actor: Actor) -> Key:
    """The actor's key; runs in a worker thread as it reads the tables. Raises Forbidden where it may use no models."""
    found = house.db.read(lambda tx: key_for(house, tx, actor))
    if not found.organisations and not found.everywhere:
        raise Forbidden(permission="serving.use", actor=actor.user, scope="an organisation")
    return found


async def ask(house: House, key: Key, asked: AskAsk) -> AskAnswer:
    """Runs on the server's event loop, as the gateway does. Raises BadInput, DeploymentNotFound, ModelBusy, Unavailable."""
    if not 1 <= asked.max_tokens <= 4096 or not 0 <= asked.temperature <= 2:
        raise BadInput(field="max_tokens", problem="it is out of range", way_out="Give 1 to 4096 tokens and a temperature of 0 to 2.")
    if not house.background:
        raise Unavailable(what="The gateway", problem="no server has this house open", way_out="Start it with `lilong up`.")
    path = "/v1/chat/completions" if asked.chat else "/v1/completions"
    words = {"messages": [{"role": "user", "content": asked.prompt}]} if asked.chat else {"prompt": asked.prompt}
    body = {"model": asked.model, "max_tokens": asked.max_tokens, "temperature": asked.temperature, **words}
    status, headers, answer = await house.port(Plane).gateway.ask(key, path, json.dumps(body).encode(), asked.organisation)
    said = json.loads(answer)
    if status == 404:
        raise DeploymentNotFound(name=asked.model)
    if status != 200:
        raise ModelBusy(name=asked.model, problem=str(said.get("error", {}).get("message", status)), way_out="")
    choice = said["choices"][0]
    text = (choice["message"]["content"] if asked.chat else choice["text"]) or ""
    counted = said["usage"]
    return AskAnswer(asked.model, text, headers["x-lilong-receipt"], counted["prompt_tokens"], counted["completion_tokens"])
