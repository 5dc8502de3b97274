"""What nginx needs to send the hub's files itself."""

from __future__ import annotations

# The folders of a house from which nginx may send, and only when the server says so.
FOLDERS = ("xorbs", "blobs", "rebuilt")
# Headers of the server's answer that nginx would leave out when it sends a file in its place. Content-Type, Content-Disposition and
# Cache-Control it keeps by itself.
_KEPT = (
    "ETag", "X-Repo-Commit", "X-Linked-Etag", "X-Linked-Size", "X-Xet-Hash", "X-Xet-Refresh-Route", "Link", "X-Request-Id",
    "Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options",
)  # fmt: skip

_SERVER = """\
# {title}
# For a file in /etc/nginx/conf.d. nginx reads the files of the house, which only its owner may: let nginx run as that user
# (`user {user};` in nginx.conf), and set `accel = "nginx"` in {house}/lilong.toml.
upstream lilong_{port} {{
    server {server};
    keepalive 32;
}}
server {{
    listen {listen};
    server_name {name};
    client_max_body_size 0;  # the server has limits of its own
    sendfile on;
    tcp_nopush on;
    gzip off;  # clients check the lengths and digests of what they get
    etag off;
    if_modified_since off;
    max_ranges 1;

    location / {{
        proxy_pass http://lilong_{port};  # without a path: what is encoded in a URL stays encoded
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Lilong-Accel 1;
        proxy_request_buffering off;
        proxy_max_temp_file_size 0;
        proxy_read_timeout 1h;
        proxy_send_timeout 1h;
    }}
{folders}}}
"""
_FOLDER = """\
    location /.lilong/{folder}/ {{
        internal;
        alias {house}/{folder}/;
{headers}    }}
"""


def config(house: str, server: str, *, title: str, user: str, listen: str = "80", name: str = "_") -> str:
    """A server block with its upstream. `server`: host:port where Lilong listens."""
    headers = "".join(f"        add_header {header} $upstream_http_{header.lower().replace('-', '_')};\n" for header in _KEPT)
    folders = "".join(_FOLDER.format(folder=folder, house=house, headers=headers) for folder in FOLDERS)
    port = server.rpartition(":")[2]
    return _SERVER.format(title=title, user=user, house=house, server=server, port=port, listen=listen, name=name, folders=folders)
