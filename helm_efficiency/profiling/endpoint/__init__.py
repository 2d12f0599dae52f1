"""Time requests to OpenAI-compatible servers: vLLM, SGLang, TGI, llama.cpp, `transformers serve`, an API."""
