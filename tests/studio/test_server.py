"""The server answers its own host with its own token alone, and never with a 500."""

import json
import re
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from packlight.errors import InputError
from packlight.studio.assets import web_files
from packlight.studio.security import cookie_name
from packlight.studio.server import Studio
from packlight.studio.serving import listen
from packlight.studio.workspace import Settings, Workspace, settings_for

PORT = 8765
TOKEN = "token-of-the-tests"
HOST = f"http://127.0.0.1:{PORT}"
PAGES = [
    "overview",
    "operators",
    "graph",
    "code",
    "what-if",
    "compare",
    "samples",
    "layers",
    "diff",
]
POSTS = ["jobs", "jobs/cancel", "predict", "views", "recipes"]


@pytest.fixture
def client(studio):
    with TestClient(studio.app(), base_url=HOST) as opened:
        opened.headers["authorization"] = f"Bearer {TOKEN}"
        yield opened


@pytest.fixture
def stranger(studio):
    with TestClient(studio.app(), base_url=HOST) as opened:
        yield opened


def test_without_the_token_nothing_is_answered(stranger):
    for path in ("/", "/web/main.js", "/api/frame", "/api/jobs", "/?token=wrong"):
        answer = stranger.get(path)
        assert answer.status_code == 401
        assert "overview" not in answer.text
    assert stranger.post("/api/predict", json={}).status_code == 401
    wrong = {"authorization": "Bearer wrong"}
    assert stranger.get("/api/frame", headers=wrong).status_code == 401
    assert (
        stranger.get("/api/frame", headers={"cookie": f"{cookie_name(PORT)}=x"}).status_code == 401
    )


def test_the_address_with_the_token_sets_a_cookie_that_scripts_and_sites_cannot_use(stranger):
    answer = stranger.get(f"/?token={TOKEN}", follow_redirects=False)

    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert stranger.get("/api/frame").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1:1", ""])
def test_another_host_is_not_answered(client, host):
    assert client.get("/api/frame", headers={"host": host}).status_code == 421


def test_requests_from_another_site_are_refused(client):
    foreign = {"origin": "http://evil.example"}
    assert client.get("/api/frame", headers=foreign).status_code == 403
    assert client.post("/api/predict", json={}, headers=foreign).status_code == 403
    cross = {"sec-fetch-site": "cross-site"}
    assert client.post("/api/predict", json={}, headers=cross).status_code == 403
    form = client.post("/api/predict", data={"choices": "x"})
    assert form.status_code == 415
    assert client.get("/api/frame", headers={"origin": HOST}).status_code == 200


def test_every_answer_has_a_policy_without_inline_scripts(client, stranger):
    for answer in (
        client.get("/"),
        client.get("/api/frame"),
        client.get("/none"),
        stranger.get("/"),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
    page = client.get("/").text
    assert not re.search(r"<script(?![^>]*\bsrc=)|\bon\w+=|style=", page)


@pytest.mark.parametrize(
    "path",
    ["../pages/overview.py", "..%2f..%2fserver.py", "/etc/passwd", "vendor/../../server.py",
     "%2e%2e/server.py", "vendor/vendor.json", "records.d.ts", ""],
)  # fmt: skip
def test_only_files_of_the_front_end_are_served(client, path):
    answer = client.get(f"/web/{path}")

    assert answer.status_code == 404 or answer.text in web_files().values()
    assert "from __future__" not in answer.text


def test_every_file_of_the_front_end_is_served_with_its_imports_resolved(client):
    for path in web_files():
        answer = client.get(f"/web/{path}")
        assert answer.status_code == 200
        if path.endswith(".js"):
            for name in re.findall(r"""\bfrom\s*["']([^"']+)["']""", answer.text):
                assert name.startswith("/web/")
                assert client.get(name).status_code == 200


def test_the_server_listens_on_this_machine_unless_asked():
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
    with pytest.raises(InputError, match="name the one address"):
        listen("0.0.0.0", 0)


def test_a_project_or_a_model_is_needed(tmp_path):
    with pytest.raises(InputError, match="is no project of packlight"):
        settings_for(str(tmp_path), Settings())
    with pytest.raises(InputError, match="no project and no model"):
        settings_for(str(tmp_path / "none.onnx"), Settings())


def test_a_model_alone_has_operators_and_says_what_the_rest_needs(made):
    studio = Studio(Workspace(settings_for(str(made.model), Settings())), PORT, token=TOKEN)
    with TestClient(studio.app(), base_url=HOST) as client:
        client.headers["authorization"] = f"Bearer {TOKEN}"
        assert client.get("/api/operators").status_code == 200
        assert (
            client.post("/api/predict", json={"choices": ["stage3=weights:8"]}).status_code == 200
        )
        for path in ("overview", "compare", "layers"):
            answer = client.get(f"/api/{path}")
            assert answer.status_code == 400
            assert "packlight fit" in answer.json()["error"]
        job = client.post("/api/jobs", json={"kind": "measure", "choices": ["stage3=weights:8"]})
        assert "packlight fit" in job.json()["error"]
    studio.close()


def test_views_and_recipes_are_kept_in_the_project(client, made):
    view = {
        "name": "worst class",
        "address": "#/compare?group=Shirt",
        "note": "look at the collars",
    }
    assert client.post("/api/views", json=view).status_code == 200
    assert view in client.get("/api/views").json()
    again = Workspace(made.settings)
    assert [saved.note for saved in again.views()] == ["look at the collars"]
    again.close()
    client.post("/api/views", json={**view, "address": ""})
    assert client.get("/api/views").json() == []
    recipe = {"name": "stage 3", "choices": ["stage3=weights:8"]}
    saved = client.post("/api/recipes", json=recipe).json()
    assert saved[0]["recipe"] == "weights,where=stage3"
    bad = client.post("/api/views", json={"name": "../x", "address": "#/overview"})
    assert bad.status_code == 400
    assert client.post("/api/views", json={**view, "address": "http://evil"}).status_code == 400


TEXTS = st.text(max_size=40) | st.sampled_from(
    ["1", "-1", "*", "stage3", "file0", "../x", "a" * 300]
)
QUERIES = st.dictionaries(
    st.sampled_from(["model", "open", "operator", "variants", "variant", "outcome", "column",
                     "group", "before", "after", "start", "first", "second", "measured"]),
    TEXTS, max_size=4,
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["stage3=weights:8", "(=keep", ".=static", "layers", "measure"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
BODIES = st.dictionaries(
    st.sampled_from(["model", "choices", "name", "address", "note", "id", "variant"]) | TEXTS,
    VALUES, max_size=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def fuzzed(made):
    studio = Studio(Workspace(made.settings), PORT, token=TOKEN)
    with TestClient(studio.app(), base_url=HOST, raise_server_exceptions=False) as client:
        client.headers["authorization"] = f"Bearer {TOKEN}"
        yield client
    studio.close()


@settings(max_examples=120)
@given(page=st.sampled_from(PAGES), query=QUERIES)
def test_no_query_gives_a_500(fuzzed, page, query):
    if query.get("measured") == "1":
        query.pop("measured")  # which times the model anew
    answer = fuzzed.get(f"/api/{page}", params=query)

    assert answer.status_code in (200, 400)
    assert json.loads(answer.text)


@settings(max_examples=120)
@given(path=st.sampled_from(POSTS), body=BODIES)
def test_no_body_gives_a_500(fuzzed, path, body):
    answer = fuzzed.post(f"/api/{path}", json=body)

    assert answer.status_code in (200, 400)


@settings(max_examples=60)
@given(path=st.sampled_from(POSTS), body=st.binary(max_size=60) | st.just(b"[" * 5000))
def test_no_bytes_give_a_500(fuzzed, path, body):
    answer = fuzzed.post(f"/api/{path}", content=body, headers={"content-type": "application/json"})

    assert answer.status_code in (200, 400)


@settings(max_examples=60)
@given(path=st.text(max_size=30))
def test_no_path_gives_a_500(fuzzed, path):
    answer = fuzzed.get(f"{HOST}/{quote(path)}")

    assert answer.status_code in (200, 303, 307, 401, 404, 405)
