"""Near-duplicates are one result with all their places that the caller may read."""

from __future__ import annotations

from mindset.application import Installation
from mindset.retrieval.passage import Passage
from tests.corpus import Corpus, run_night

FERRY = (
    "The ferry to the island leaves from the north pier every morning and carries bicycles on the upper deck. "
    "Passengers may also sit there in summer if the captain agrees."
)
TICKETS = (
    "Tickets are sold at the counter in the hall until the ship has left the pier, and on board for a surcharge. "
    "The crew collects them after the last stop of the island."
)


def search(installation: Installation, corpus: Corpus, question: str, *principals: str) -> list[Passage]:
    kb = installation.knowledge_base(corpus.name)
    return list(installation.searcher.search(kb, question, principals, 5, join=False).passages)


def places(passage: Passage) -> list[str]:
    return [place.uri for place in passage.places]


def write_all(corpus: Corpus) -> None:
    corpus.write("ferry.md", f"# Ferry\n\n{FERRY}\n")
    corpus.write("tickets.md", f"# Tickets\n\n{TICKETS}\n")
    corpus.write("print.md", f"# Everything\n\n## Ferry\n\n{FERRY}\n\n## Tickets\n\n{TICKETS}\n")
    corpus.write("secret/ferry.md", f"---\nacl: [staff]\n---\n# Ferry\n\n*{FERRY}*\n")


def test_page_and_print_version_are_one_result(installation: Installation, corpus: Corpus) -> None:
    write_all(corpus)
    run_night(installation, corpus.name)
    found = search(installation, corpus, "When does the ferry leave from the pier?")
    assert [places(passage) for passage in found[:2]] == [["ferry.md", "print.md"], ["tickets.md", "print.md"]]
    assert found[0].text.startswith("# Ferry")


def test_only_places_that_the_caller_may_read_are_shown(installation: Installation, corpus: Corpus) -> None:
    write_all(corpus)
    run_night(installation, corpus.name)
    staff = search(installation, corpus, "When does the ferry leave from the pier?", "staff")
    assert sorted(places(staff[0])) == ["ferry.md", "print.md", "secret/ferry.md"]


def test_a_rule_of_the_definition_is_applied_by_the_next_night(installation: Installation, corpus: Corpus) -> None:
    write_all(corpus)
    run_night(installation, corpus.name)
    corpus.define(retrieval={"canonical": ["print.md"]})
    question = "When does the ferry leave from the pier?"
    assert places(search(installation, corpus, question)[0]) == ["ferry.md", "print.md"]
    run_night(installation, corpus.name)
    assert places(search(installation, corpus, question)[0]) == ["print.md", "ferry.md"]
    corpus.define(retrieval={"merge_near_duplicates": False})
    run_night(installation, corpus.name)
    assert [places(passage) for passage in search(installation, corpus, question)[:2]] == [["ferry.md"], ["print.md"]]


def test_pages_of_one_template_are_found_by_what_differs(installation: Installation, corpus: Corpus) -> None:
    for city in ("Bergen", "Aarhus", "Turku"):
        corpus.write(f"{city}.md", f"# Office in {city}\n\n{TICKETS}\n")
    for price in (40, 66):
        corpus.write(f"berth-{price}.md", f"# Berth\n\n{FERRY} A berth costs {price} crowns.\n")
    run_night(installation, corpus.name)
    assert places(search(installation, corpus, "tickets at the office in Aarhus")[0]) == ["Aarhus.md"]
    berths = search(installation, corpus, "What does a berth on the ferry cost?")
    assert [places(passage) for passage in berths[:2]] == [["berth-40.md"], ["berth-66.md"]]
