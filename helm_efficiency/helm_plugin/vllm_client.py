"""Check whether HELM's client for vLLM's completions works: that of crfm-helm 0.5.16 cannot be constructed."""

INSTEAD = (
    "in model_deployments.yaml, class_name helm_efficiency.helm_plugin.completions_client.CompletionsClient with "
    "base_url and served_model, or helm.clients.vllm_client.VLLMChatClient for chat; see docs/profiling.md"
)


def vllm_client_problem() -> str:
    """Return why `VLLMClient` cannot be constructed, by trying; empty if it can be. No server is contacted."""
    try:
        from helm.clients.vllm_client import VLLMClient
        from helm.common.cache import BlackHoleCacheConfig

        VLLMClient(None, "none", BlackHoleCacheConfig(), base_url="http://127.0.0.1:9/v1", vllm_model_name="none")
    except (ImportError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return ""
