-- A chat with a prompt of 1 KB, the same each time; at the end one line of JSON, times in microseconds.
wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. (os.getenv("BENCH_TOKEN") or "")
local prompt = string.rep("tell me more ", 78)
wrk.body = '{"model":"whole:latest","messages":[{"role":"user","content":"' .. prompt .. '"}]}'

function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    '\n{"answers":%d,"seconds":%f,"failed":%d,"p50":%d,"p99":%d}\n',
    summary.requests, summary.duration / 1e6, failed, latency:percentile(50), latency:percentile(99)))
end
