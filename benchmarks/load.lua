-- wrk's arguments after "--": a prefix of this run's ids, the body with UNIQUE where an id belongs, an Authorization.
local number = 0
local prefix, body
local headers = { ["Content-Type"] = "application/json" }

function init(args)
  prefix, body = args[1], args[2]
  if args[3] then headers["Authorization"] = args[3] end
end

function request()
  number = number + 1
  local unique = string.format("%s%016X", prefix, number)
  return wrk.format("POST", nil, headers, (body:gsub("UNIQUE", unique)))
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("RESULT %d %d %d\n", summary.requests, summary.duration, failed))
end
