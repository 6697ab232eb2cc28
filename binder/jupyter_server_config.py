"""Put the embedded server's web UI into JupyterLab's launcher; postBuild copies this file to its place."""

from urllib.parse import urlsplit

from kaigents_nb.server import embedded as server
from kaigents_nb.server.datadir import data_dir

running = server.find_server(data_dir())
if running is not None:
    c.ServerProxy.servers = {  # noqa: F821 - `c` is Jupyter's configuration
        "temporal": {
            # No command: `start` has started the server already, with this prefix as its public path.
            "command": [],
            "port": urlsplit(running.ui_url).port,
            "absolute_url": True,
            "new_browser_tab": True,
            "launcher_entry": {"title": "Temporal UI"},
        }
    }
