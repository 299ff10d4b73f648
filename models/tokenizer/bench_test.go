package tokenizer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func BenchmarkOpenDeepSeek(b *testing.B) {
	path := filepath.Join(deepseekFolder(b), "tokenizer.json")
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	for b.Loop() {
		if _, err := Open(path); err != nil {
			b.Fatal(err)
		}
	}
}

// variedText is about size bytes of English, code, Chinese, digits and more. The
// numbers in it count up, so that no two lines are the same.
func variedText(size int) string {
	lines := []string{
		"The quick brown fox jumps over the lazy dog; nobody knows why, but it's said to be number ",
		"func (s *Server) handle(w http.ResponseWriter, r *http.Request) error {\n\treturn s.next[",
		"人工智能正在改变世界，今天天气怎么样？我们一起去公园散步吧。第",
		"for (int i = 0; i < n; ++i) { sum += values[i] * weights[i] - 0x",
		"Большая языковая модель отвечает на вопросы пользователя. ",
		"{\"id\": 3.14159, \"tags\": [\"a\", \"b\"], \"url\": \"https://example.org/path?q=",
		"これは日本語の文章です。カタカナとひらがな ",
		"    if value is None:\n        raise ValueError(f\"unexpected {name!r}\")\n\n# ",
	}
	var out strings.Builder
	for n := uint64(1); out.Len() < size; n++ {
		out.WriteString(lines[n%uint64(len(lines))])
		out.WriteString(words(n * 0x9E3779B97F4A7C15))
		out.WriteByte('\n')
	}
	return out.String()
}

// words spells a number as two made-up words and digits, so that a benchmark
// also meets pieces that it has not met before.
func words(n uint64) string {
	var out strings.Builder
	for range 2 {
		out.WriteByte(' ')
		for range 3 {
			out.WriteByte("bdfgklmnprst"[n%12])
			out.WriteByte("aeiou"[n/12%5])
			n /= 60
		}
	}
	out.WriteByte(' ')
	for ; n > 0; n /= 10 {
		out.WriteByte(byte('0' + n%10))
	}
	return out.String()
}

func BenchmarkEncode1MB(b *testing.B) {
	text := variedText(1 << 20)
	for name, folder := range map[string]string{"storyteller": storyteller, "deepseek": ""} {
		b.Run(name, func(b *testing.B) {
			if folder == "" {
				folder = deepseekFolder(b)
			}
			tok := openFolder(b, folder)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			count := 0
			for b.Loop() {
				ids, err := tok.Encode(text)
				if err != nil {
					b.Fatal(err)
				}
				count = len(ids)
			}
			b.ReportMetric(float64(count), "tokens/text")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	tok := openFolder(b, storyteller)
	text := variedText(1 << 20)
	ids, err := tok.Encode(text)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := tok.Decode(ids); err != nil {
			b.Fatal(err)
		}
	}
}
