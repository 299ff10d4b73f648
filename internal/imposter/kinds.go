package imposter

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/message"
)

// A thing is what lies in the place of a file, and what to do about it.
type thing struct{ found, advice string }

const (
	again    = "download the file again"
	loggedIn = "download the file again, logged in if the model asks for that"
)

// kinds are asked one after the other. Each gets the beginning of a file and its
// size, and returns "" for what it does not know. None knows a file of weights or a
// JSON object that is a model's.
var kinds = []struct {
	found  func(head []byte, size int64) string
	advice string
}{
	{empty, again},
	{pointer, "run `git lfs pull` in its folder, or download the file itself"},
	{annex, "run `git annex get` in its folder, or download the file itself"},
	{zeros, again},
	{utf16, "write it as UTF-8 (iconv -f UTF-16 -t UTF-8), or download it again"},
	{magic("\x1f\x8b", "a gzip file"), "unpack it (gunzip), or download the file itself"},
	{magic("PK\x03\x04", "a zip file"), "unpack it (unzip), or download the file itself"},
	{magic("\x28\xb5\x2f\xfd", "a zstd file"), "unpack it (unzstd), or download the file itself"},
	{magic("\xfd7zXZ\x00", "an xz file"), "unpack it (unxz), or download the file itself"},
	{magic("BZh", "a bzip2 file"), "unpack it (bunzip2), or download the file itself"},
	{magic("GGUF", "a GGUF file"), "smelt reads safetensors: download the model in that format"},
	{page, loggedIn},
	{xml, loggedIn},
	{answer, loggedIn},
	{words, loggedIn},
}

// look finds what a file is that begins with head; nil if it is nothing known here.
func look(head []byte, size int64) *thing {
	for _, k := range kinds {
		if found := k.found(head, size); found != "" {
			return &thing{found, k.advice}
		}
	}
	return nil
}

func not(what string) string { return "is " + what + ", not the file itself" }

func empty(_ []byte, size int64) string {
	if size == 0 {
		return "is empty"
	}
	return ""
}

// pointerSize finds what a Git LFS pointer says of its file.
var pointerSize = regexp.MustCompile(`(?m)^size (\d{1,18})\r?$`)

func pointer(head []byte, _ int64) string {
	if !bytes.HasPrefix(head, []byte("version https://git-lfs.github.com/spec/")) && !bytes.HasPrefix(head, []byte("version https://hawser.github.com/spec/")) {
		return ""
	}
	found := "a Git LFS pointer"
	if m := pointerSize.FindSubmatch(head); m != nil {
		n, _ := strconv.ParseInt(string(m[1]), 10, 64) // 18 digits fit
		found += " (to " + message.Bytes(n) + ")"
	}
	return not(found)
}

func annex(head []byte, size int64) string {
	if size <= headBytes && bytes.HasPrefix(head, []byte("/annex/objects/")) {
		return not("a git-annex pointer")
	}
	return ""
}

// zeros are what a download leaves that reserves the space of a file first.
func zeros(head []byte, _ int64) string {
	if len(head) >= 8 && len(bytes.Trim(head, "\x00")) == 0 {
		return "begins with nothing but zeros: its download was not finished"
	}
	return ""
}

// utf16 knows a text by its byte-order mark, or by a zero in every other byte of
// what would be JSON.
func utf16(head []byte, _ int64) string {
	if len(head) < 4 {
		return ""
	}
	marked := head[0] == 0xff && head[1] == 0xfe || head[0] == 0xfe && head[1] == 0xff
	plain := head[0] == '{' && head[1] == 0 && head[2] != 0 && head[3] == 0 || head[0] == 0 && head[1] == '{' && head[2] == 0
	if marked || plain {
		return "is text in UTF-16, expected UTF-8"
	}
	return ""
}

func magic(begins, name string) func([]byte, int64) string {
	return func(head []byte, _ int64) string {
		if bytes.HasPrefix(head, []byte(begins)) {
			return not(name)
		}
		return ""
	}
}

// text is the beginning of a file without what may stand before a document.
func text(head []byte) []byte {
	return bytes.TrimLeftFunc(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), unicode.IsSpace)
}

var (
	pageBegins = regexp.MustCompile(`(?is)^(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|title|script|meta)\b`)
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
	words := strings.Join(strings.Fields(string(match[1])), " ")
	if words == "" || !utf8.ValidString(words) {
		return ""
	}
	return fmt.Sprintf(" (%q)", message.Clip(words))
}

// answerKeys are those of the JSON that servers send instead of a file.
var answerKeys = map[string]bool{
	"error": true, "message": true, "detail": true, "errors": true, "success": true, "status": true, "statusCode": true, "status_code": true,
	"code": true, "error_code": true, "path": true, "timestamp": true, "requestId": true, "request_id": true, "documentation_url": true,
}

// answer knows an object with an error or a message and no key of any model.
func answer(head []byte, size int64) string {
	if size > headBytes || !bytes.HasPrefix(text(head), []byte("{")) {
		return ""
	}
	d := jsontext.NewDecoder(bytes.NewReader(text(head)))
	if _, err := d.ReadToken(); err != nil {
		return ""
	}
	said := ""
	for d.PeekKind() != jsontext.KindEndObject {
		name, err := d.ReadToken()
		if err != nil || !answerKeys[name.String()] {
			return ""
		}
		key := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return ""
		}
		if words, err := jsontext.AppendUnquote(nil, value); err == nil && said == "" && (key == "error" || key == "message" || key == "detail") {
			said = string(words)
		}
	}
	if said == "" {
		return ""
	}
	return not("a server's error message" + titled([][]byte{nil, []byte(said)}))
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
