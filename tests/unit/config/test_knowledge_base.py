"""Tests of the definitions of knowledge bases."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindset.config.knowledge_base import KnowledgeBase
from mindset.config.loader import load_knowledge_base, parse_knowledge_base
from mindset.config.ranking import RankingOptions, ranking_options
from mindset.errors import ConfigurationError, UnknownKnowledgeBase

MINIMAL = "name: test\ntitle: Test\nsources: [{path: documents}]\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "test.yaml"


def parse(file: Path, text: str) -> KnowledgeBase:
    file.write_text(text)
    return parse_knowledge_base(file)


def test_name_title_and_a_source_are_required_only(file: Path) -> None:
    kb = parse(file, MINIMAL)
    assert (kb.name, kb.title, kb.acl) == ("test", "Test", ("*",))
    assert (kb.chunking.method, kb.embedding.provider, kb.generation.provider) == (
        "structural",
        "wordllama",
        "extractive",
    )
    assert kb.evaluation.golden_set is None


def test_paths_are_relative_to_the_file(file: Path) -> None:
    kb = parse(file, "name: test\ntitle: T\nsources: [{path: ../a}, {path: /b}]\nevaluation: {golden_set: g.jsonl}\n")
    assert [source.path for source in kb.sources] == [file.parent.parent / "a", Path("/b")]
    assert kb.evaluation.golden_set == file.parent / "g.jsonl"


@pytest.mark.parametrize(
    ("added", "fault"),
    [
        ("chunkin: {}", "chunkin: Extra inputs"),
        ("chunking: {tokns: 100}", r"chunking\.tokns: Extra inputs"),
        ("chunking: {tokens: many}", r"chunking\.tokens: .*integer"),
        ("chunking: {tokens: 8}", r"chunking\.tokens: .*greater than or equal to 16"),
        ("chunking: {method: semantic}", r"chunking\.method: .*'structural', 'recursive' or 'fixed'"),
        ("chunking: {tokens: 100, overlap: 100}", "chunking: .*overlap is 100, which must be less than the 100 tokens"),
        ("chunking: {language: 'english; drop'}", r"chunking\.language: "),
        ("chunking: [structural]", "chunking: .*dictionary"),
        ("embedding: {provider: openai}", r"embedding\.provider: "),
        ("embedding: {provider: [nim]}", r"embedding\.provider: "),
        ("embedding: {provider: nim, model: nvidia/other}", "embedding: .*nim has no default here for dimension"),
        ("embedding: {provider: sentence-transformers}", "embedding: .*here for model and dimension"),
        ("generation: {provider: [nim]}", r"generation\.provider: "),
        ("retrieval: {dense_weight: 0, lexical_weight: 0}", "retrieval: .*nothing would be searched"),
        ("retrieval: {deadline_s: 0}", r"retrieval\.deadline_s: "),
        ("evaluation: {gate: {margins: {recall@6: 0.1}}}", r"evaluation\.gate\.margins\.recall@6.*'recall@5', 'mrr'"),
        ("evaluation: {gate: {minimum: {mrr: 60}}}", r"evaluation\.gate\.minimum\.mrr: "),
        ("acl: staff", "acl: "),
        ("acl: []", r"acl: .*an empty list lets nobody read"),
        ("keep_versions: 1", "keep_versions: "),
        ("max_deletion_ratio: 50", "max_deletion_ratio: "),
    ],
)
def test_invalid_key_is_reported_with_file_and_remedy(file: Path, added: str, fault: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"test\.yaml is invalid: {fault}") as caught:
        parse(file, MINIMAL + added)
    assert str(caught.value).endswith("`mindset kb validate` checks it again.")
    assert "\n" not in str(caught.value)
    assert ";" not in str(caught.value).replace("'english; drop'", "")


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", "file: [^;]*dictionary"),
        ("- a\n", "file: [^;]*dictionary"),
        ("just text", "file: [^;]*dictionary"),
        ("name: test\ntitle: T\n", "sources: Field required"),
        ("name: test\ntitle: T\nsources: []\n", "sources: .*at least 1 item"),
        ("name: test\ntitle: T\nsources: [{kind: folder}]\n", r"sources\.0\.path: Field required"),
        ("name: test\ntitle: T\nsources: [{path: a, glob: b}]\n", r"sources\.0\.glob: Extra inputs"),
        ("name: test\ntitle: T\nsources: [{kind: ftp, path: a}]\n", r"sources\.0\.kind: .*'folder'"),
        ("name: test\ntitle: 7\nsources: [{path: a}]\n", "title: .*string"),
        ("name: Test\ntitle: T\nsources: [{path: a}]\n", "name: .*match pattern"),
        ("title: T\nsources: [{paht: a}]\n", r"name: Field required; sources\.0\.path: [^;]+; sources\.0\.paht: [^;]+"),
    ],
)
def test_missing_keys_and_wrong_types_are_reported_without_follow_up_errors(file: Path, text: str, faults: str) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"test\.yaml is invalid: {faults}[^;]*\. `mindset kb validate`"
    ) as caught:
        parse(file, text)
    assert str(caught.value).count(";") == faults.count("; ")


@pytest.mark.parametrize(
    "text", ["title: [unclosed", "a: b: c", "\ttitle: T", "title: 2026-99-99", "title: !!bool x", "[" * 5_000]
)
def test_malformed_yaml_is_reported(file: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"test\.yaml is not valid YAML: .*Correct it\.$") as caught:
        parse(file, text)
    assert "\n" not in str(caught.value)


def test_name_that_differs_from_the_file_is_reported_with_both_remedies(file: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"test\.yaml defines 'other': rename the file to other\.yaml or the other"
    ):
        parse(file, MINIMAL.replace("name: test", "name: other"))


def test_unreadable_file_is_reported(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Cannot read .*test\.yaml: .*Check the path and its permissions\."):
        parse_knowledge_base(file)
    file.write_bytes(b"title: \xff")
    with pytest.raises(ConfigurationError, match=r"Cannot read .*test\.yaml: "):
        parse_knowledge_base(file)


def test_variable_is_replaced_by_its_value_or_default(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDER", "/from/variable")
    monkeypatch.delenv("ABSENT", raising=False)
    text = "name: test\ntitle: T\nsources: [{path: '${FOLDER}'}, {path: '${FOLDER:-/no}'}, {path: '${ABSENT:-/default}'}]\n"
    assert [str(source.path) for source in parse(file, text).sources] == [
        "/from/variable",
        "/from/variable",
        "/default",
    ]
    with pytest.raises(
        ConfigurationError, match=r"test\.yaml needs the variable ABSENT, .*Set it, or give a default\."
    ):
        parse(file, MINIMAL + "description: ${ABSENT}\n")


@pytest.mark.parametrize("name", ["tset", "../test", "TEST", "", "a\0b", "x" * 41])
def test_unknown_name_is_reported_with_the_existing_names(file: Path, name: str) -> None:
    file.write_text(MINIMAL)
    with pytest.raises(UnknownKnowledgeBase, match=r"there are: test\. `MINDSET_KNOWLEDGE_BASES` names their folder"):
        load_knowledge_base(name, file.parent)


def test_definition_is_loaded_by_its_name(file: Path) -> None:
    for name in ("test", "alpha"):
        file.with_stem(name).write_text(MINIMAL.replace("name: test", f"name: {name}"))
    assert [load_knowledge_base(name, file.parent).name for name in ("alpha", "test")] == ["alpha", "test"]
    with pytest.raises(UnknownKnowledgeBase, match="there are: none"):
        load_knowledge_base("test", file.parent / "elsewhere")


@pytest.mark.parametrize(
    ("options", "model", "dimension"),
    [
        ("{}", "wordllama", 256),
        ("{provider: nim}", "nvidia/llama-nemotron-embed-1b-v2", 2048),
        ("{provider: nim, dimension: 512}", "nvidia/llama-nemotron-embed-1b-v2", 512),
        ("{provider: nim, model: nvidia/other, dimension: 768}", "nvidia/other", 768),
        ("{provider: bedrock}", "amazon.titan-embed-text-v2:0", 1024),
        ("{provider: bedrock, model: 'amazon.titan-embed-text-v2:0'}", "amazon.titan-embed-text-v2:0", 1024),
    ],
)
def test_default_embedding_model_depends_on_the_provider(file: Path, options: str, model: str, dimension: int) -> None:
    embedding = parse(file, MINIMAL + f"embedding: {options}").embedding
    assert (embedding.model, embedding.dimension) == (model, dimension)


@pytest.mark.parametrize(
    ("options", "model"),
    [
        ("{max_tokens: 100}", "extractive"),
        ("{provider: nim}", "nvidia/llama-3.1-nemotron-nano-8b-v1"),
        ("{provider: bedrock}", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("{provider: bedrock, model: amazon.nova}", "amazon.nova"),
    ],
)
def test_default_chat_model_depends_on_the_provider(file: Path, options: str, model: str) -> None:
    assert parse(file, MINIMAL + f"generation: {options}").generation.model == model


def test_chunking_fingerprint_depends_on_everything_that_changes_chunks(file: Path) -> None:
    changes = [
        "",
        "chunking: {tokens: 100}",
        "chunking: {method: fixed}",
        "chunking: {overlap: 1}",
    ]
    assert len({parse(file, MINIMAL + change).chunking.fingerprint for change in changes}) == len(changes)
    for same in ("chunking: {}", "chunking: {language: german}"):
        assert parse(file, MINIMAL).chunking.fingerprint == parse(file, MINIMAL + same).chunking.fingerprint


@pytest.mark.parametrize("language", ["klingon", "English", "en", "", "english "])
def test_unknown_language_is_rejected_with_the_known_ones(file: Path, language: str) -> None:
    file.write_text(MINIMAL + f"chunking: {{language: '{language}'}}\n")
    with pytest.raises(ConfigurationError, match=rf"chunking\.language: .*{language!r}.*arabic, .*english, .*yiddish"):
        parse_knowledge_base(file)


def test_ranking_options_depend_on_everything_that_changes_the_ranking(file: Path) -> None:
    changes = [
        "",
        "chunking: {language: german}",
        "embedding: {provider: nim}",
        "retrieval: {dense_weight: 0.7}",
        "retrieval: {lexical_weight: 0.7}",
        "retrieval: {candidates: 7}",
        "retrieval: {rerank: {provider: nim}}",
        "retrieval: {rerank: {provider: nim, candidates: 7}}",
    ]
    options = [ranking_options(parse(file, MINIMAL + change)) for change in changes]
    assert len({each.model_dump_json() for each in options}) == len(changes)
    assert [RankingOptions.model_validate_json(each.model_dump_json()) for each in options] == options
    for same in ("retrieval: {passages: 7}", "retrieval: {deadline_s: 7}", "chunking: {tokens: 100}"):
        assert ranking_options(parse(file, MINIMAL + same)) == options[0]


def test_renamed_key_of_an_earlier_release_is_rejected_with_its_new_name(file: Path) -> None:
    file.write_text(MINIMAL + "largest_loss: 0.2\n")
    with pytest.raises(ConfigurationError, match="`largest_loss` is now `max_deletion_ratio`: rename the key"):
        parse_knowledge_base(file)
