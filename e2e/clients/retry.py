"""The user's own retry sample, word for word, against a gateway at its limit."""
import os

url = os.environ["PERF_URL"] + "/v1/chat"
headers = {"Authorization": "Bearer " + os.environ["PERF_API_KEY"]}

# --- the sample begins
import time
import requests

def call_perf_with_retry(payload, max_retries=3):
    for attempt in range(max_retries):
        response = requests.post(url, json=payload, headers=headers)

        if response.status_code == 429:
            retry_after = int(response.headers.get('Retry-After', 60))
            wait_time = retry_after * (2 ** attempt)  # Exponential backoff
            time.sleep(wait_time)
            continue

        return response.json()

    raise Exception("Max retries exceeded")
# --- the sample ends

limited = 0
send = requests.sessions.Session.send

def counting(self, request, **kwargs):
    global limited
    response = send(self, request, **kwargs)
    limited += response.status_code == 429
    return response

requests.sessions.Session.send = counting

payload = {"messages": [{"role": "user", "content": "Hello"}]}
for _ in range(3):
    answer = call_perf_with_retry(payload)
    assert answer["method"] == "POST" and '"Hello"' in answer["body"], answer
assert limited > 0, "the sample never met a 429: the check shows nothing"
print(f"requests: 3 answers, {limited} waits")
