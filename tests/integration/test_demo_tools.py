"""The demo's endpoints as tools of language models (MCP)."""

from __future__ import annotations

import asyncio
import importlib
import shutil

import pytest

from tests.demo_stand_ins import ONE

pytest_plugins = ("tests.demo_fixtures",)


def test_without_the_package_mcp_is_refused_in_one_line(demo, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "mcp" else find(name, *a))
    assert demo.app.main(["--mcp"]) == 2
    err = capsys.readouterr().err
    assert "gradio[mcp]" in err and "Traceback" not in err and err.count("\n") == 1


def test_the_endpoints_are_tools(demo, untrained, monkeypatch, tmp_path):
    pytest.importorskip("mcp", reason="gradio[mcp] is not installed")
    import base64

    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    shutil.copytree(untrained("baseline_cnn"), tmp_path / "checkpoints" / "baseline_cnn")
    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    app = demo.app.build_app()
    _, address, _ = app.launch(prevent_thread_lock=True, quiet=True, **demo.app.launch_options(mcp=True))
    picture = "data:image/jpeg;base64," + base64.b64encode(ONE.read_bytes()).decode()

    async def talk():
        async with (
            streamablehttp_client(f"{address.rstrip('/')}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = {t.name: t for t in (await session.list_tools()).tools}
            answer = await session.call_tool("analyze", {"picture": picture, "whole_picture": True})
            refused = await session.call_tool("analyze_video", {"film": picture})
            return tools, answer, refused

    try:
        tools, answer, refused = asyncio.run(talk())
    finally:
        app.close(verbose=False)
    assert set(tools) == {"analyze", "analyze_video"}
    assert "film" in tools["analyze_video"].inputSchema["properties"] and "CSV" in tools["analyze_video"].description
    assert not answer.isError and "'faces': [{'box'" in answer.content[0].text
    assert refused.isError and "not a film" in refused.content[0].text
