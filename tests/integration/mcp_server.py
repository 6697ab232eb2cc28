"""A server of tools for tests, over stdin and stdout."""

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp_types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult

server = MCPServer("tests")
_FORM = {"type": "object", "properties": {"color": {"type": "string"}}, "required": ["color"]}


@server.tool()
def add(first: int, second: int) -> int:
    """Add two numbers."""
    return first + second


@server.tool()
def paint(what: str, context: Context) -> str | InputRequiredResult:
    """Paint something in a color that a person says."""
    answered = (context.input_responses or {}).get("color")
    if answered is None:
        asked = ElicitRequestFormParams(message=f"Which color for the {what}?", requested_schema=_FORM)
        return InputRequiredResult(input_requests={"color": ElicitRequest(params=asked)}, request_state="asked")
    return f"{what}: {answered.content['color'] if answered.action == 'accept' else 'left as it was'}"


if __name__ == "__main__":
    server.run("stdio")
