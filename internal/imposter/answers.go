package imposter

import (
	"bytes"
	"fmt"
	"html"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/message"
)

// text is the beginning of a file without what may stand before a document.
func text(head []byte) []byte {
	return bytes.TrimLeftFunc(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), unicode.IsSpace)
}

var (
	pageBegins = regexp.MustCompile(`(?is)^(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|title|script|style|meta|link|div|h[1-6]|p|pre|center|span|table|iframe|noscript)\b`)
	pageTitle  = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)
	xmlBegins  = regexp.MustCompile(`^<(\?xml\s|[A-Za-z][A-Za-z0-9:]*[\s/>])`)
	xmlMessage = regexp.MustCompile(`(?is)<(?:code|message|title)>([^<]*)<`)
)

func page(head []byte, _ int64) string {
	if !pageBegins.Match(text(head)) {
		return ""
	}
	return not("a web page" + titled(pageTitle.FindSubmatch(head)))
}

func xml(head []byte, _ int64) string {
	if !xmlBegins.Match(text(head)) {
		return ""
	}
	return not("an XML answer of a server" + titled(xmlMessage.FindSubmatch(head)))
}

// titled quotes what a pattern found.
func titled(match [][]byte) string {
	if match == nil {
		return ""
	}
	words := strings.Join(strings.Fields(html.UnescapeString(string(match[1]))), " ")
	if words == "" || !utf8.ValidString(words) {
		return ""
	}
	return fmt.Sprintf(" (%q)", message.Clip(words))
}

// answerKeys are those of the JSON that servers send instead of a file.
var answerKeys = map[string]bool{
	"error": true, "message": true, "detail": true, "details": true, "errors": true, "success": true, "status": true, "statusCode": true, "status_code": true,
	"code": true, "error_code": true, "error_description": true, "path": true, "timestamp": true, "requestId": true, "request_id": true, "documentation_url": true,
	"msg": true, "type": true, "title": true,
}

// saidKeys are those of them that have words for people, or an object or a list with
// such words.
var saidKeys = map[string]bool{"error": true, "message": true, "detail": true, "errors": true, "msg": true, "title": true}

// answer knows an object with an error or a message and no key of any model.
func answer(head []byte, size int64) string {
	if size > headBytes {
		return ""
	}
	t := text(head)
	if !bytes.HasPrefix(t, []byte("{")) {
		return ""
	}
	words, ok := said(jsontext.NewDecoder(bytes.NewReader(t)))
	if !ok || words == "" {
		return ""
	}
	return not("a server's error message" + titled([][]byte{nil, []byte(words)}))
}

// said finds the first words for people in the value that comes next; ok is false if
// that is no JSON, or the document has other keys than answers do.
func said(d *jsontext.Decoder) (words string, ok bool) {
	token, err := d.ReadToken()
	if err != nil {
		return "", false
	}
	kind := token.Kind()
	if kind == jsontext.KindString {
		return token.String(), true
	}
	if kind != jsontext.KindBeginObject && kind != jsontext.KindBeginArray {
		return "", true
	}
	for d.PeekKind() != jsontext.KindEndObject && d.PeekKind() != jsontext.KindEndArray {
		counts := true
		if kind == jsontext.KindBeginObject {
			name, err := d.ReadToken()
			if err != nil || d.StackDepth() == 1 && !answerKeys[name.String()] {
				return "", false
			}
			counts = saidKeys[name.String()]
		}
		more, ok := said(d)
		if !ok {
			return "", false
		}
		if counts && words == "" {
			words = more
		}
	}
	_, err = d.ReadToken()
	return words, err == nil
}

// mostWords bounds the text of an answer in bytes.
const mostWords = 1 << 10

// words knows a short text that is no JSON, such as "Entry not found".
func words(head []byte, size int64) string {
	if size > mostWords {
		return ""
	}
	t := bytes.TrimSpace(text(head))
	if len(t) == 0 {
		return "has nothing but white space"
	}
	first, _ := utf8.DecodeRune(t)
	if !unicode.IsLetter(first) && !unicode.IsDigit(first) || !utf8.Valid(t) || jsontext.Value(t).IsValid() {
		return ""
	}
	letters := 0
	for _, r := range string(t) {
		if !unicode.IsPrint(r) && !unicode.IsSpace(r) {
			return ""
		}
		if unicode.IsLetter(r) {
			letters++
		}
	}
	if letters < 2 {
		return ""
	}
	return not("a text" + titled([][]byte{nil, t}))
}
