package deepseekv4

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/models/pyjson"
)

// Limits of generated calls.
const (
	maxCalls = 1000
	maxName  = 4 << 10  // bytes of a tool's name
	maxKey   = 64 << 10 // bytes of a parameter's key
	maxValue = 4 << 20  // bytes of a parameter's value that is no string
)

// Tags of calls, of the marks that they have ahead of a parser.
const (
	blockTag     = "<" + dsml + "tool_calls>"
	blockEnd     = "</" + dsml + "tool_calls>"
	invokeTag    = "<" + dsml + `invoke name="`
	invokeEnd    = "</" + dsml + "invoke>"
	parameterTag = "<" + dsml + `parameter name="`
	parameterEnd = "</" + dsml + "parameter>"
	valueEnd     = "</" + dsml
)

// callState is what a parser knows of calls.
type callState struct {
	call       int             // the index of the last call, -1 before the first
	open       bool            // it has no end yet
	parameters int             // of the call
	inValue    bool            // the next tag ends a value
	asText     bool            // the value is a string
	bare       bool            // the parameter's tag has no string attribute
	value      strings.Builder // what came of a value that is no string
}

// tags that may stand next.
func (p *parser) tags() []string {
	switch {
	case p.inValue:
		return []string{parameterEnd, parameterTag, invokeEnd, invokeTag, blockEnd}
	case p.open:
		return []string{parameterTag, invokeEnd, invokeTag, blockEnd}
	}
	return []string{blockTag, invokeTag, blockEnd}
}

// tag is the state between tags. Blanks are skipped; so is all else that is no tag,
// with an error.
func (p *parser) tag(end bool) bool {
	start, whole := tagAt(p.ahead)
	p.skip(start)
	if p.ahead == "" || !whole && !end {
		return false
	}
	if p.ahead[0] == ending[0] {
		p.state = (*parser).done
		return true
	}
	for _, tag := range p.tags() {
		if strings.HasPrefix(p.ahead, tag) {
			p.take(len(tag))
			p.enter(tag)
			return true
		}
		if strings.HasPrefix(tag, p.ahead) {
			return false // at the end of the text nothing more is certain
		}
	}
	known := 0
	for _, tag := range p.tags() {
		known = max(known, common(tag, p.ahead))
	}
	_, next := utf8.DecodeRuneInString(p.ahead[known:])
	p.fail(shown(p.ahead[:known+next]), p.expected())
	p.take(strings.Index(p.ahead, dsml) + 1)
	return true
}

// tagAt is where the first tag, or end of the turn, begins, else the length of s but
// for what may be the beginning of a tag. whole says that its special token is there.
func tagAt(s string) (start int, whole bool) {
	for i := range len(s) {
		rest := s[i:]
		switch {
		case rest[0] == ending[0]:
			return i, true
		case strings.HasPrefix(rest, "<"+dsml), strings.HasPrefix(rest, "</"+dsml):
			return i, true
		case rest == "<", rest == "</":
			return i, false
		}
	}
	return len(s), false
}

// skip drops n bytes that stand between tags.
func (p *parser) skip(n int) {
	junk := strings.TrimLeft(p.take(n), " \t\r\n")
	if junk != "" {
		_, first := utf8.DecodeRuneInString(junk)
		p.fail(shown(junk[:first]), p.expected())
	}
}

// expected lists the tags that may stand next, for people.
func (p *parser) expected() string {
	return spelled.Replace(strings.Join(p.tags(), " or "))
}

// common is the length of what a and b both begin with.
func common(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// enter does what a tag says.
func (p *parser) enter(tag string) {
	if p.inValue && tag != parameterEnd {
		p.fail(spelled.Replace(tag), spelled.Replace(parameterEnd))
	} else if p.open && (tag == invokeTag || tag == blockEnd) {
		p.fail(spelled.Replace(tag), spelled.Replace(invokeEnd)) // the call stays open: nobody may run half of it
	}
	p.inValue = false
	switch tag {
	case invokeTag:
		p.open, p.state = false, (*parser).name
	case parameterTag:
		p.state = (*parser).key
	case invokeEnd:
		closing := "}"
		if p.parameters == 0 {
			closing = "{}"
		}
		p.emit(chat.DeltaArguments, closing)
		p.open = false
	case blockEnd:
		p.state = (*parser).done
	}
}

// name is the state inside the tag of a call.
func (p *parser) name(end bool) bool {
	const close = `">`
	text, found, over := p.before(close)
	most := maxName
	if !found && !over {
		most += len(close) - 1 // which may have begun
	}
	switch {
	case len(text) > most:
		p.fail("a longer one", fmt.Sprintf("a tool's name of at most %d bytes", maxName))
		p.state = (*parser).done
	case !found:
		return p.cut(over || end)
	case p.call+1 == maxCalls:
		p.fail("one more", fmt.Sprintf("at most %d calls", maxCalls))
		p.state = (*parser).done
	default:
		p.call++
		p.open, p.parameters, p.state = true, 0, (*parser).tag
		p.emit(chat.DeltaCall, spelled.Replace(text))
		p.take(len(text) + len(close))
	}
	return true
}

// before is the text ahead of a tag's part, and whether that is there; over says that
// the turn ends sooner.
func (p *parser) before(part string) (text string, found, over bool) {
	text, _, found = strings.Cut(p.ahead, part)
	if n := strings.Index(text, ending); n >= 0 {
		return text[:n], false, true
	}
	return text, found, false
}

// cut ends the text inside a tag, if it is over; the tag then counts for nothing.
func (p *parser) cut(over bool) bool {
	if over {
		p.state = (*parser).done
	}
	return over
}

// key is the state inside the tag of a parameter.
func (p *parser) key(end bool) bool {
	text, closed, over := p.before(valueEnd)
	decided := closed || over || end
	key, behind := p.keyIn(text, decided)
	most := maxKey
	if !decided {
		most += len(valueEnd) // which may have begun
	}
	switch {
	case behind > maxKey || len(text) > most && (behind == 0 || decided && p.bare):
		p.fail("a longer one", fmt.Sprintf("a parameter's key, or a value without string attribute, of at most %d bytes", maxKey))
		p.state = (*parser).done
	case behind > 0:
		p.take(behind)
		p.begin(key)
	case closed:
		p.fail(spelled.Replace(valueEnd), "\"> behind a parameter's name")
		p.take(len(text))
		p.state = (*parser).tag
	default:
		return p.cut(over || end)
	}
	return true
}

// keyIn finds a parameter's key and the place behind its tag. Keys may hold quotes, so
// they end where the attribute begins; without one, when that is decided, where the tag
// ends.
func (p *parser) keyIn(text string, decided bool) (key string, behind int) {
	for _, isText := range []bool{true, false} {
		attribute := fmt.Sprintf(`" string="%t">`, isText)
		if n := strings.Index(text, attribute); n >= 0 && (behind == 0 || n < len(key)) {
			key, behind, p.asText = text[:n], n+len(attribute), isText
		}
	}
	p.bare = behind == 0
	if n := strings.Index(text, `">`); p.bare && n >= 0 && decided {
		key, behind, p.asText = text[:n], n+2, false
	}
	return key, behind
}

// begin writes a parameter's key.
func (p *parser) begin(key string) {
	opening := []byte("{\"")
	if p.parameters > 0 {
		opening = []byte(", \"")
	}
	opening = append(pyjson.AppendEscaped(opening, spelled.Replace(key)), `": `...)
	if p.asText {
		opening = append(opening, '"')
	}
	p.emit(chat.DeltaArguments, string(opening))
	p.parameters++
	p.value.Reset()
	p.state = (*parser).parameter
}

// parameter is the state of a value. A string's comes as it arrives; of others it must
// be known first whether they are JSON.
func (p *parser) parameter(end bool) bool {
	text, closed, over := p.before(valueEnd)
	n := len(text)
	if !closed && !over && !end {
		n -= valueEndBegun(text)
	}
	text = spelled.Replace(p.take(n))
	if p.asText {
		p.emit(chat.DeltaArguments, string(pyjson.AppendEscaped(nil, text)))
	} else {
		p.value.WriteString(text)
	}
	switch {
	case p.value.Len() > maxValue:
		p.fail("a longer one", fmt.Sprintf("a value of at most %d bytes", maxValue))
		p.state = (*parser).done
	case closed:
		p.endValue()
		p.inValue, p.state = true, (*parser).tag
	case over || end:
		p.emit(chat.DeltaArguments, p.value.String()) // the call stays open
		p.state = (*parser).done
	default:
		return false
	}
	return true
}

// valueEndBegun is the length of the end of s that may end a value.
func valueEndBegun(s string) int {
	for _, part := range []string{"</", "<"} {
		if strings.HasSuffix(s, part) {
			return len(part)
		}
	}
	return 0
}

// endValue completes a parameter's value. What should be JSON and is none becomes a
// string.
func (p *parser) endValue() {
	value := p.value.String()
	switch {
	case p.asText:
		value = `"`
	case !pyjson.Valid(value):
		value = `"` + string(pyjson.AppendEscaped(nil, value)) + `"`
	}
	p.emit(chat.DeltaArguments, value)
}
