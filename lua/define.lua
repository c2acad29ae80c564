--[[
define: stores a program, so that calls can refer to it by its name.

KEYS
  1  any key of the slot that the calls go to

ARGV
  name, text: see lib/program

Replies
  defined
]]

program.define(args.text(), args.text())
return { 'defined' }
