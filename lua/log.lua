--[[
log: writes an entry of the audit log, for a change that no other function makes.

KEYS
  1  audit log

ARGV
  audit: field count, then name and value each

Replies
  logged
]]

audit.write(KEYS[1], audit.read())
return { 'logged' }
