package imposter

import (
	"bytes"
	"encoding/binary"
	"math"
	"regexp"
	"strconv"

	"smelt.example/smelt/internal/message"
)

// A thing is what lies in the place of a file, and what to do about it.
type thing struct{ found, advice string }

const (
	again    = "download the file again"
	itself   = "download the file itself"
	loggedIn = "download the file again, logged in if the model asks for that"
	other    = "smelt reads safetensors: download the model in that format"
)

// kinds are asked one after the other. Each gets the beginning of a file and its
// size, and returns "" for what it does not know. None knows a file of weights or a
// JSON object that is a model's.
var kinds = []struct {
	found  func(head []byte, size int64) string
	advice string
}{
	{empty, again},
	{pointer, "run `git lfs pull` in its folder, or " + itself},
	{annex, "run `git annex get` in its folder, or " + itself},
	{xet, itself},
	{link, itself + ": there, links became texts"},
	{zeros, again},
	{utf32, "write it as UTF-8 (iconv -f UTF-32 -t UTF-8), or download it again"},
	{utf16, "write it as UTF-8 (iconv -f UTF-16 -t UTF-8), or download it again"},
	{magic("\x1f\x8b", "a gzip file"), "unpack it (gunzip), or " + itself},
	{pytorch, other},
	{magic("PK\x03\x04", "a zip file"), "unpack it (unzip), or " + itself},
	{magic("\x28\xb5\x2f\xfd", "a zstd file"), "unpack it (unzstd), or " + itself},
	{magic("\xfd7zXZ\x00", "an xz file"), "unpack it (unxz), or " + itself},
	{magic("BZh", "a bzip2 file"), "unpack it (bunzip2), or " + itself},
	{magic("7z\xbc\xaf\x27\x1c", "a 7z file"), "unpack it (7z x), or " + itself},
	{magic("Rar!\x1a\x07", "a RAR file"), "unpack it (unrar), or " + itself},
	{tar, "unpack it (tar -x), or " + itself},
	{magic("GGUF", "a GGUF file"), other},
	{magic("%PDF-", "a PDF file"), loggedIn},
	{conflict, "edit it and end the merge, or " + itself},
	{page, loggedIn},
	{xml, loggedIn},
	{answer, loggedIn},
	{words, loggedIn},
}

// look finds what a file is that begins with head; nil if it is nothing known here.
func look(head []byte, size int64) *thing {
	if weights(head) {
		return nil
	}
	for _, k := range kinds {
		if found := k.found(head, size); found != "" {
			return &thing{found, k.advice}
		}
	}
	return nil
}

// weights tells whether a file begins as safetensors do: with the length of a header, which
// may have the bytes of anybody's beginning, and the header.
func weights(head []byte) bool {
	return len(head) > 8 && head[8] == '{' && binary.LittleEndian.Uint64(head) <= math.MaxUint32
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
	if t := text(head); !bytes.HasPrefix(t, []byte("version https://git-lfs.github.com/spec/")) && !bytes.HasPrefix(t, []byte("version https://hawser.github.com/spec/")) {
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

// xet knows what git leaves of a file that git-xet keeps elsewhere.
func xet(head []byte, _ int64) string {
	if bytes.HasPrefix(text(head), []byte("# xet version ")) {
		return not("a git-xet pointer")
	}
	return ""
}

// linkText is what a link says, of which git or a copy made a file: ../../blobs/a1b2.
var linkText = regexp.MustCompile(`^(\.\./)+[\w./@+-]+$`)

func link(head []byte, size int64) string {
	if t := bytes.TrimSpace(head); size <= mostWords && linkText.Match(t) {
		return not("a text that names another file (" + message.Quote(string(t)) + ")")
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

// utf32 knows a text by its byte-order mark, or by the zeros around a brace.
func utf32(head []byte, _ int64) string {
	for _, begins := range []string{"\xff\xfe\x00\x00", "\x00\x00\xfe\xff", "{\x00\x00\x00", "\x00\x00\x00{"} {
		// Headers of weights may be as long as a brace and three zeros say, and have more.
		if bytes.HasPrefix(head, []byte(begins)) && len(head) >= 8 && !bytes.Equal(head[4:8], make([]byte, 4)) {
			return "is text in UTF-32, expected UTF-8"
		}
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

// pytorch knows what torch.save writes: a pickle, by its protocol, or a zip file of one.
func pytorch(head []byte, _ int64) string {
	zip := bytes.HasPrefix(head, []byte("PK\x03\x04")) && bytes.Contains(head, []byte("/data.pkl"))
	pickle := len(head) > 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5 && bytes.IndexByte([]byte("}]()cX\x8a\x8c\x95"), head[2]) >= 0
	if zip || pickle {
		return not("a PyTorch file")
	}
	return ""
}

// tar knows an archive by the mark behind its first file's name.
func tar(head []byte, _ int64) string {
	if len(head) > 262 && string(head[257:262]) == "ustar" {
		return not("a tar file")
	}
	return ""
}

func conflict(head []byte, _ int64) string {
	if bytes.HasPrefix(text(head), []byte("<<<<<<< ")) {
		return "has the marks of a merge that git did not finish"
	}
	return ""
}
