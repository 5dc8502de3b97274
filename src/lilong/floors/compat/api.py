"""HTTP doors of the compat floor."""

from __future__ import annotations

from fastapi import Request

from lilong.floors.compat import service
from lilong.floors.compat.backends import BUILT_IN
from lilong.floors.compat.contract import Certificate, CertificateShown, Examination, ExaminationAsk, MatrixLine
from lilong.ground.access import SIGNED_IN
from lilong.ground.web import Routes, call

routes = Routes(prefix="/api/compat", tag="compat")


@routes.post("/examinations", allow="compat.run", status=201)
async def examine(request: Request, ask: ExaminationAsk) -> Examination:
    return await call(service.examine, request, ask)


@routes.get("/examinations", allow="compat.read")
async def examinations(request: Request) -> list[Examination]:
    return await call(service.examinations, request)


@routes.get("/examinations/{identity}", allow="compat.read")
async def examination(request: Request, identity: str) -> Examination:
    return await call(service.examination, request, identity)


@routes.get("/certificates", allow="compat.read")
async def certificates(request: Request, model: str | None = None) -> list[Certificate]:
    return await call(service.certificates, request, model)


@routes.get("/certificates/{digest}", allow="compat.read")
async def certificate(request: Request, digest: str) -> CertificateShown:
    return await call(service.certificate, request, digest)


@routes.get("/matrix", allow="compat.read")
async def matrix(request: Request) -> list[MatrixLine]:
    return await call(service.matrix, request)


@routes.get("/stacks", allow=SIGNED_IN)
async def stacks() -> list[str]:
    return sorted(BUILT_IN)
