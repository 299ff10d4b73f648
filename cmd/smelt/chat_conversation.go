package main

import (
	"fmt"
	"slices"

	lib "smelt.example/smelt"
)

// conversation is what was said, and how the next answer is asked for.
type conversation struct {
	system, effort string
	think          bool
	tools          []string      // as JSON
	said           []lib.Message // but for the system's
	open           []lib.Message // of tools, for calls without a result yet: the results to come
	calls          int           // so far, for their ids
	asked          uint64        // answers so far, also those taken back
}

// messages are all of them, for a request.
func (c *conversation) messages() (all []lib.Message) {
	if c.system != "" || len(c.tools) > 0 {
		all = append(all, lib.Message{Role: lib.RoleSystem, Content: c.system, Tools: c.tools})
	}
	return append(all, c.said...)
}

// ask puts the conversation into a request. Answers to the same words, as after /undo, differ:
// each has its own random numbers.
func (c *conversation) ask(r lib.Request) lib.Request {
	r.Messages, r.Think, r.Effort, r.Stream = c.messages(), c.think, c.effort, c.asked
	return r
}

// say adds a message of the user's, or the result of the first call that has none yet. It
// reports whether an answer is due, and how to take the message back.
func (c *conversation) say(text string) (due bool, takeBack func()) {
	said, open := slices.Clone(c.said), slices.Clone(c.open)
	takeBack = func() { c.said, c.open = said, open }
	if len(c.open) == 0 {
		c.said = append(c.said, lib.Message{Role: lib.RoleUser, Content: text})
		return true, takeBack
	}
	result := c.open[0]
	result.Content = text
	c.said, c.open = append(c.said, result), c.open[1:]
	return len(c.open) == 0, takeBack
}

// answered adds an answer. Its calls wait for results.
func (c *conversation) answered(m lib.Message) {
	c.asked++
	for i := range m.ToolCalls {
		c.calls++
		m.ToolCalls[i].ID = fmt.Sprintf("call_%d", c.calls)
		c.open = append(c.open, lib.Message{Role: lib.RoleTool, ToolCallID: m.ToolCalls[i].ID})
	}
	c.said = append(c.said, m)
}

// awaited is the name of the tool whose result is to be typed next; "" if there is none.
func (c *conversation) awaited() string {
	if len(c.open) == 0 {
		return ""
	}
	for _, m := range slices.Backward(c.said) {
		for _, call := range m.ToolCalls {
			if call.ID == c.open[0].ToolCallID {
				return call.Name
			}
		}
	}
	return ""
}

// undo takes back the last message of the user's with all that followed, and returns it.
func (c *conversation) undo() (text string, ok bool) {
	for i, m := range slices.Backward(c.said) {
		if m.Role == lib.RoleUser {
			c.said, c.open = c.said[:i], nil
			return m.Content, true
		}
	}
	return "", false
}
