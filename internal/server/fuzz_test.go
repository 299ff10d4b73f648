package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/script"
)

// FuzzRequests: no body is a bug of the server's: answers are JSON or streams, and nothing
// runs on.
func FuzzRequests(f *testing.F) {
	paths := append([]string{"/tokenize", "/detokenize", "/apply-template", "/v1/messages/count_tokens"}, bodyPaths...)
	for i, body := range []string{
		hi, with(hi, stream), withTool, ask, askTool, codex, with(codex, codexTool), `{"prompt":["a",1]}`, `{"prompt":[[1,2]],"echo":true,"logprobs":1,"max_tokens":0}`, `{"tokens":[1,2]}`,
		with(hi, `"response_format":{"type":"json_schema","json_schema":{"schema":{"$ref":"#/x","pattern":"("}}}`), `{"messages":[{"role":"assistant","content":[{"type":"text"}],"prefix":true,"tool_calls":[{"function":{"arguments":{}}}]}]}`,
		with(hi, `"n":2,"stop":["a"],"logit_bias":{"1":0},"logprobs":true,"top_logprobs":2`), `{"input":[{"type":"reasoning","summary":[]},{"type":"function_call","arguments":"{"}]}`, `{"messages":"\ud800"}`,
	} {
		f.Add(uint8(i), body)
	}
	for i := range paths {
		f.Add(uint8(i), `{"messages":[{"role":"system","content":""}],"input":[{"role":"developer","content":""}],"max_tokens":9}`)
	}
	e, err := script.Open(checkpoint)
	if err != nil {
		f.Fatal(err)
	}
	ids, err := e.About.Tokenizer.Encode("Hm.</think>Hello." + callStart + oneCall + callEnd + eos)
	if err != nil {
		f.Fatal(err)
	}
	e.Reply = func(engine.Request) []int32 { return ids }
	s := New(Options{})
	s.Ready(e)
	f.Fuzz(func(t *testing.T, path uint8, body string) {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, paths[int(path)%len(paths)], strings.NewReader(body)))
		if w.Code >= 500 || w.Code < 200 || e.Running() != 0 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && !json.Valid(w.Body.Bytes()) {
			t.Fatalf("no JSON: %s", w.Body)
		}
	})
}
