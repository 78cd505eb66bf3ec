-- authz.lua: HAProxy asks the accounts of caddy-registration who is signed in.
--
-- Set up as the configuration beside it shows:
--   lua-load /etc/haproxy/authz.lua
--   http-request lua.authz <address to ask at>
-- It sets txn.authz_status: 200 lets the request through, with txn.authz_user, _id, _email,
-- _name and _groups, and takes our cookies off it; 302 and 303 send it to txn.authz_location; all else is refused. What can't
-- be asked is 503.

local told = { user = "remote-user", id = "remote-id", email = "remote-email", name = "remote-name", groups = "remote-groups" }

-- Headers that are of this connection, or of a body that isn't sent along.
local ours = {
	["host"] = true, ["connection"] = true, ["upgrade"] = true, ["keep-alive"] = true, ["te"] = true, ["trailer"] = true, ["transfer-encoding"] = true,
	["content-length"] = true, ["expect"] = true, ["x-forwarded-method"] = true, ["x-forwarded-proto"] = true, ["x-forwarded-host"] = true,
	["x-forwarded-uri"] = true, ["x-forwarded-for"] = true, ["http2-settings"] = true, ["proxy-connection"] = true,
}

-- The app sees every cookie but ours, with which it could act for its visitor.
local function hide_cookies(txn)
	local kept = {}
	for _, line in pairs(txn.http:req_get_headers()["cookie"] or {}) do
		for cookie in line:gmatch("[^;]+") do
			local name = cookie:match("^%s*([^=]*)"):gsub("%s+$", ""):gsub("^__%a+%-", "")
			if name ~= "registration" and not name:match("^registration_%a+$") then
				table.insert(kept, (cookie:gsub("^%s+", "")))
			end
		end
	end
	txn.http:req_del_header("cookie")
	if #kept > 0 then
		txn.http:req_set_header("cookie", table.concat(kept, "; "))
	end
end

core.register_action("authz", { "http-req" }, function(txn, address)
	local headers = {}
	for name, values in pairs(txn.http:req_get_headers()) do
		if not ours[name] then
			headers[name] = {}
			for i = 0, #values do
				if values[i] ~= nil then
					table.insert(headers[name], values[i])
				end
			end
		end
	end
	local host = txn.sf:req_hdr("host")
	headers["host"] = { txn:get_var("proc.authz_host") or host }
	headers["x-forwarded-method"] = { txn.sf:method() }
	headers["x-forwarded-proto"] = { txn.f:ssl_fc() == 1 and "https" or "http" }
	headers["x-forwarded-host"] = { host }
	headers["x-forwarded-uri"] = { txn.sf:pathq() }
	headers["x-forwarded-for"] = { txn.sf:src() }
	txn:set_var("txn.authz_status", 503)
	local answer = core.httpclient():get({ url = address, headers = headers, timeout = 10000 })
	if answer == nil or answer.status == nil or answer.status == 0 then
		return
	end
	local function header(name)
		local values = answer.headers and answer.headers[name]
		return values and values[0] or ""
	end
	for name, from in pairs(told) do
		txn:set_var("txn.authz_" .. name, header(from))
	end
	txn:set_var("txn.authz_location", header("location"))
	txn:set_var("txn.authz_challenge", header("www-authenticate"))
	if answer.status == 200 then
		if header("remote-id") == "" then
			return -- another site has answered: a slip in the address or the name
		end
		hide_cookies(txn)
	end
	txn:set_var("txn.authz_status", answer.status)
end, 1)
