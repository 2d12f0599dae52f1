"""HELM's names of models behind the names that hosts and servers give them."""

from pathlib import Path

from helm_efficiency.catalog.helm_names import deployment_at, helm_model

DEPLOYMENTS = """
model_deployments:
  - name: here/qwen
    client_spec: {class_name: a.Client, args: {base_url: "http://localhost:8000/v1/", openai_model_name: Qwen/Qwen3-8B}}
  - name: there/llama
    client_spec: {class_name: a.Client, args: {base_url: "http://other:8000/v1"}}
  - name: local/gpt2
    client_spec: {class_name: b.Client}
"""


def test_a_server_has_the_name_of_its_deployment(tmp_path: Path) -> None:
    path = tmp_path / "model_deployments.yaml"
    assert deployment_at("http://localhost:8000/v1", "Qwen/Qwen3-8B", path) is None
    path.write_text(DEPLOYMENTS)
    assert deployment_at("http://localhost:8000/v1", "Qwen/Qwen3-8B", path) == "here/qwen"
    assert deployment_at("http://localhost:8000/v1", "", path) == "here/qwen"
    assert deployment_at("http://localhost:8000/v1", "Qwen/Qwen3-4B", path) is None
    assert deployment_at("http://other:8000/v1", "llama", path) == "there/llama"


def test_tuned_and_base_weights_are_told_apart() -> None:
    assert helm_model("groq/llama3-8b-8192") == helm_model("together/Llama-3-8b-chat-hf") == "meta/llama-3-8b-chat"
    assert helm_model("huggingface/Meta-Llama-3-8B") == "meta/llama-3-8b"
    assert helm_model("meta/llama-3-70b-instruct-turbo") != helm_model("groq/llama3-70b-8192")
    assert helm_model("me/mine") is None
