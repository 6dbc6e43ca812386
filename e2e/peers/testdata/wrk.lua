-- Requests with the keys of a file in turn, all made before the measurement begins.
-- Arguments: file of keys, how many of them, Host, method, path, octets of the body,
-- "chunked" if it is sent in pieces.
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

local requests, count, at = {}, 0, 0

function init(args)
  local file, most, host, method, path, size, framing = unpack(args)
  size = tonumber(size)
  local head, body = "", ""
  if framing == "chunked" then
    local piece = ("%x\r\n%s\r\n"):format(4096, ("x"):rep(4096))
    head, body = "Transfer-Encoding: chunked\r\n", piece:rep(size / 4096) .. "0\r\n\r\n"
  elseif size > 0 then
    head, body = "Content-Length: " .. size .. "\r\n", ("x"):rep(size)
  end
  for key in io.lines(file) do
    if count == tonumber(most) then break end
    count = count + 1
    requests[count] = method .. " " .. path .. " HTTP/1.1\r\nHost: " .. host ..
      "\r\nAuthorization: Bearer " .. key .. "\r\n" .. head .. "\r\n" .. body
  end
  at = math.floor(count / 2) * number % count -- each thread begins elsewhere
end

function request()
  at = at % count + 1
  return requests[at]
end

function done(summary, latency)
  local e = summary.errors
  io.write(("result %d %d %d %d %d\n"):format(summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
