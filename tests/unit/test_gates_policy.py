"""What an answer is worth, as pure data: the wire forms, what is bound to what, and who is first."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaigents_nb.gates.answer import Answer
from kaigents_nb.gates.policy import Gates, Standing
from kaigents_nb.gates.question import Question

START = datetime(2026, 11, 23, 15, 6, 2, tzinfo=UTC)
ASKED = Question("Which?", ("A", "B"), "1", START, "d" * 32, "execution-1")


def sent(answer: Answer, id: str = "a") -> Answer:
    return replace(answer, id=id, at=START, by="ann")


def test_wire_forms_are_read_back_whole() -> None:
    """What is sent is what arrives, with everything that binds it."""
    answer = sent(ASKED.answer(True, choice="B", values={"limit": 3}, comment="fine"))
    assert Answer.from_wire(answer.to_wire()) == answer
    assert Question.from_wire(ASKED.to_wire()) == ASKED


def test_old_wire_forms_are_read() -> None:
    """Decisions and questions of before there were digests."""
    old = {"id": "x", "gate": "1", "approved": True, "choice": "A", "values": {}, "comment": "", "by": "ann",
           "at": START.isoformat(), "question": "Which?"}  # fmt: skip
    answer = Answer.from_wire(old)
    assert (answer.by, answer.at, answer.asked, answer.question) == ("ann", START, "", "Which?")
    asked = Question.from_wire({"gate": "1", "question": "Which?", "options": ["A"], "opened": START.isoformat()})
    assert asked == Question("Which?", ("A",), "1", START)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["id", "gate", "approved", "choice", "values", "at", "by"]), inner)
        ),
    )
)
def test_whatever_comes_is_an_answer_or_refused(data: Any) -> None:
    """Every client of the server may send something: nothing but ValueError comes of it."""
    try:
        answer = Answer.from_wire(data)
    except ValueError:
        return
    assert answer.id and answer.gate and answer.choice


@pytest.mark.parametrize(
    "other",
    [
        replace(ASKED, question="Which one?"),
        replace(ASKED, options=("A", "B", "C")),
        replace(ASKED, options=("A", "B "), question="Which?"),
        replace(ASKED, details="e" * 32),
        replace(ASKED, execution="execution-2"),
    ],
)
def test_an_answer_to_something_else_does_not_count(other: Question) -> None:
    """Question, options, details and execution are bound; where and when it was asked are not part of the digest."""
    gates = Gates(bound=True)
    gates.ask(other)
    assert gates.standing(sent(ASKED.answer(True, choice="A"))) is Standing.NOT_ASKED
    assert gates.standing(sent(other.answer(True, choice="A"))) is Standing.COUNTS


def test_an_unbound_answer_counts_only_in_an_old_run() -> None:
    """A program that says nothing of what it saw is refused, but where the run began before that was asked."""
    blind = replace(sent(ASKED.answer(True, choice="A")), asked="", execution="")
    for bound, standing in ((True, Standing.NOT_ASKED), (False, Standing.COUNTS)):
        gates = Gates(bound=bound)
        gates.ask(ASKED)
        assert gates.standing(blind) is standing


@pytest.mark.parametrize(("approved", "choice"), [(True, "C"), (True, "reject"), (False, "A"), (True, "approve")])
def test_a_choice_is_among_the_options(approved: bool, choice: str) -> None:
    """Options name what may be approved, and a rejection chooses nothing."""
    gates = Gates()
    gates.ask(ASKED)
    assert gates.standing(replace(sent(ASKED.answer(True, choice="A")), approved=approved, choice=choice)) is (
        Standing.NO_OPTION
    )


def test_a_question_refuses_a_choice_that_it_does_not_have() -> None:
    """The message names the options; one option needs no name."""
    with pytest.raises(ValueError, match=r"No option 'C' .* \['A', 'B'\]"):
        ASKED.answer(True, choice="C")
    with pytest.raises(ValueError, match="Say which"):
        ASKED.answer(True)
    with pytest.raises(ValueError, match="has no options"):
        Question("Go?").answer(True, choice="A")
    assert replace(ASKED, options=("A",)).answer(True).choice == "A"
    assert ASKED.answer(False).choice == "reject"


ACTIONS = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from("123")),
    st.tuples(st.just("close"), st.sampled_from("123")),
    st.tuples(st.just("answer"), st.sampled_from("123"), st.sampled_from("abcde"), st.booleans()),
)


@given(st.lists(ACTIONS, max_size=30))
def test_the_first_that_counts_wins_and_stays(actions: list[tuple[Any, ...]]) -> None:
    """One answer a gate, that of the first while it was open, however often and in whatever order they come."""
    gates, expected, open_now = Gates(bound=True), dict[str, str](), set[str]()
    for kind, gate, *more in actions:
        question = replace(ASKED, gate=gate)
        if kind == "ask":
            gates.ask(question)
            open_now.add(gate)
        elif kind == "close":
            gates.close(gate)
            open_now.discard(gate)
        else:
            id, approved = more
            standing = gates.take(sent(question.answer(approved, choice="A" if approved else None), id))
            if gate in expected:
                assert standing is (Standing.AGAIN if expected[gate] == id else Standing.TOO_LATE)
            elif gate in open_now:
                assert standing is Standing.COUNTS
                expected[gate] = id
            else:
                assert standing is Standing.NOT_OPEN
        assert {gate: answer.id for gate, answer in gates.taken.items()} == expected
