-- What one run of wrk found, as the JSON that bench/go/load prints. Times in milliseconds.
done = function(summary, latency)
  local errors = summary.errors
  local bad = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '\n{"requests": %d, "rps": %f, "bytes": %d, "bad": %d, "p50": %f, "p99": %f, "p999": %f}\n',
    summary.requests, summary.requests / summary.duration * 1e6, summary.bytes, bad,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3))
end
