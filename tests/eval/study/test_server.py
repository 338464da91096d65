"""The endpoints as any client can use them: what they refuse, and what they must not reveal."""

import io
import json

import numpy as np
import pytest
import requests
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from eval.study.answers import Answers
from eval.study.design import Study

PATHS = [
    *("", "begin", "trials", "state", "answer", "admin", "admin/answers.csv", "static/trial.js"),
    *("pair/0", "pair/-1", "pair/99999999999999999999", "pair/../state", "//etc/passwd"),
    *("static/../server.py", "static/%2e%2e/server.py", "static/..%2fserver.py"),
    *("images/0.npy", "answers.sqlite", "admin_token"),
]
METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE"]
GOOD = {"choice": "A", "shown_ms": 1000.0, "answer_ms": 10.0}


@pytest.fixture
def person(study_server):
    """A session of requests that has begun."""
    session = requests.Session()
    session.base = study_server.address
    session.post(f"{session.base}begin")
    return session


def answer(person, trial, **changes):
    return person.post(f"{person.base}answer", json={"trial": trial, **GOOD} | changes)


def study_of(server):
    return Study.read(server.out)


def trials_of(server, person):
    answers = Answers(server.out, study_of(server))
    found = answers.participant(person.cookies["participant"])
    answers.close()
    return found, study_of(server).trials_of(found.number)


def test_a_session_from_consent_to_the_completion_code(study_server, person):
    assert "cookie" in requests.get(study_server.address).text
    found, trials = trials_of(study_server, person)
    for number, trial in enumerate(trials):
        pair = person.get(f"{person.base}pair/{number}")
        assert pair.headers["content-type"] == "image/webp"
        pixels = np.asarray(Image.open(io.BytesIO(pair.content)))
        kept = [np.load(study_server.out / "images" / f"{i}.npy") for i in (0, 1 + found.arm)]
        both = [kept[0][trial.real], kept[1][trial.fake]]
        assert (pixels == np.hstack(both if trial.real_is_a else both[::-1])).all()
        choice = "A" if number % 2 else "B"
        state = answer(person, number, choice=choice).json()
        assert state["trial"] == number + 1
        practice = number < 3
        assert ("correct" in state) == practice  # no word on the others
        if practice:
            assert state["correct"] == (choice == ("B" if trial.real_is_a else "A"))
    assert state["done"] and len(state["code"]) == 8
    assert answer(person, 5).status_code == 409
    assert person.get(f"{person.base}state").json() == {**state}
    answers = Answers(study_server.out, study_of(study_server))
    rows = answers.table().query(f"participant == {found.number}")
    answers.close()
    assert rows.fooled.tolist() == [
        ("A" if n % 2 else "B") == ("A" if trial.real_is_a else "B")
        for n, trial in enumerate(trials)
    ]


def test_an_answer_counts_once_and_in_order(person):
    assert answer(person, 1).status_code == 409
    first = answer(person, 0, choice="B").json()
    again = answer(person, 0, choice="A").json()  # repeated: the first one stands
    assert again == first
    assert answer(person, 1).json()["trial"] == 2
    assert answer(person, 0).json()["trial"] == 2


def test_nobody_answers_for_another_or_takes_part_twice(study_server, person):
    other = requests.Session()
    other.post(f"{study_server.address}begin")
    assert (
        requests.post(f"{study_server.address}answer", json={"trial": 0, **GOOD}).status_code == 401
    )
    forged = {"participant": person.cookies["participant"][:-1] + "x"}
    assert requests.get(f"{study_server.address}state", cookies=forged).status_code == 401
    extra = {"trial": 0, **GOOD, "participant": 1}
    assert other.post(f"{study_server.address}answer", json=extra).status_code == 422
    assert person.get(f"{person.base}state").json()["trial"] == 0
    before = person.cookies["participant"]
    person.post(f"{person.base}begin")  # consents again
    assert person.cookies["participant"] == before
    form = "trial=0&choice=A"  # what another site can make a browser send
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert person.post(f"{person.base}answer", data=form, headers=kind).status_code == 415


def test_only_the_current_pair_is_served(person):
    assert person.get(f"{person.base}pair/1").status_code == 409
    answer(person, 0)
    assert person.get(f"{person.base}pair/0").status_code == 409
    assert person.get(f"{person.base}pair/1").status_code == 200


def test_which_image_is_real_cannot_be_read_from_the_response(study_server):
    """The flat images of the arm L1 are a fifth of the real ones as files; a pair is one file whose
    headers and size are alike whichever side is real."""
    lengths = {True: [], False: []}
    headers = set()
    for _ in range(12):
        session = requests.Session()
        session.base = study_server.address
        session.post(f"{session.base}begin")
        found, trials = trials_of(study_server, session)
        for number in range(3):
            response = session.get(f"{session.base}pair/{number}")
            image = Image.open(io.BytesIO(response.content))
            assert image.size == (64, 24) and not {*image.info} & {"exif", "xmp", "icc_profile"}
            headers.add(tuple(sorted(set(response.headers) - {"date", "content-length"})))
            if found.arm == 0:
                lengths[trials[number].real_is_a].append(len(response.content))
            answer(session, number)
    assert len(headers) == 1
    a, b = (np.array(lengths[side]) for side in (True, False))
    assert len(a) > 3 and len(b) > 3
    assert abs(a.mean() - b.mean()) < 0.02 * a.mean()


def test_the_admin_page_needs_its_token(study_server):
    address = f"{study_server.address}admin"
    for wrong in ("", "?token=", "?token=x", "?token=%ff%00", f"?token={study_server.token}x"):
        assert requests.get(address + wrong).status_code == 403
        assert requests.get(f"{address}/answers.csv{wrong}").status_code == 403
    right = f"?token={study_server.token}"
    page = requests.get(address + right).text
    assert "L1+cGAN" in page and "started" in page
    csv = requests.get(f"{address}/answers.csv{right}").text.splitlines()
    assert csv[0].startswith("participant,code,arm,trial,practice,real,fake")
    assert (study_server.out / "admin_token").stat().st_mode & 0o077 == 0


def test_long_bodies_and_wrong_answers_are_refused(person):
    assert person.post(f"{person.base}answer", data=b"x" * 10**6).status_code in (413, 415)
    body = json.dumps({"trial": 0, **GOOD}) + " " * 5000
    kind = {"content-type": "application/json"}
    assert person.post(f"{person.base}answer", data=body, headers=kind).status_code == 413
    good = {"trial": 0, **GOOD}
    for field, wrong in (("choice", "C"), ("trial", -1), ("trial", "0"), ("shown_ms", -1)):
        sent = person.post(f"{person.base}answer", json=good | {field: wrong})
        assert sent.status_code == 422
    assert person.post(f"{person.base}answer", data=b"[" * 1900, headers=kind).status_code == 422


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)
ANSWERS = st.fixed_dictionaries(
    {"trial": st.integers() | JSON, "choice": st.sampled_from("ABC") | JSON},
    optional={"shown_ms": st.floats() | JSON, "answer_ms": st.floats() | JSON, "x": JSON},
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(METHODS),
    path=st.sampled_from(PATHS) | st.text(max_size=30),
    cookie=st.sampled_from(["mine", "none"])
    | st.text(st.characters(max_codepoint=255), max_size=30),
    kind=st.sampled_from(["application/json", "text/plain", ""]),
    body=ANSWERS.map(json.dumps).map(str.encode) | st.binary(max_size=100),
    query=st.dictionaries(st.sampled_from(["token", "x"]), st.text(max_size=9), max_size=2),
)
@example("GET", "static/..%2f..%2fdesign.py", "mine", "", b"", {})
def test_no_request_makes_the_server_fail(
    study_server, fuzzed, method, path, cookie, kind, body, query
):
    cookies = {"mine": f"participant={fuzzed.mine}", "none": ""}.get(
        cookie, f"participant={cookie}"
    )
    headers = {"content-type": kind, "cookie": cookies}
    try:
        sent = fuzzed.request(
            method, study_server.address + path, params=query, data=body, headers=headers,
            allow_redirects=False, timeout=10,
        )  # fmt: skip
    except requests.exceptions.RequestException:  # no HTTP: the server hangs up, and lives on
        assert requests.get(f"{study_server.address}static/study.css").status_code == 200
        return
    assert sent.status_code < 500, (method, path, body)
    assert b"def " not in sent.content and b"SQLite" not in sent.content  # no file of ours
    if sent.status_code != 400:
        assert "content-security-policy" in sent.headers


@pytest.fixture(scope="module")
def fuzzed(study_server):
    session = requests.Session()
    session.post(f"{study_server.address}begin")
    session.mine = session.cookies["participant"]
    session.cookies.clear()
    return session


def test_behind_a_proxy_with_tls_the_cookie_is_secure_and_addresses_are_relative(study_server):
    sent = requests.post(
        f"{study_server.address}begin",
        headers={"X-Forwarded-Proto": "https", "Host": "example.org"},
        allow_redirects=False,
    )
    assert "Secure" in sent.headers["set-cookie"] and "HttpOnly" in sent.headers["set-cookie"]
    assert sent.headers["location"] == "trials"
