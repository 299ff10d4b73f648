// Package sdks has agents that speak with the server by the libraries of OpenAI and
// Anthropic.
package sdks

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

	"smelt.example/smelt/internal/server"
	"smelt.example/smelt/internal/server/script"
)

const (
	eos      = "<｜end▁of▁sentence｜>"
	question = "tide and wind?"
	answer   = "4 m and calm."
	key      = "sesame"
)

// call is a turn of the model that calls a tool.
func call(thought, tool string) string {
	return thought + "</think>\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"" + tool + "\">\n<｜DSML｜parameter name=\"at\" string=\"true\">Brest</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>" + eos
}

// results are what the tools say.
var results = map[string]string{"tide": "4 m", "wind": "calm"}

var schema = map[string]any{"type": "object", "properties": map[string]any{"at": map[string]any{"type": "string"}}}

// serve starts a server whose model asks for both tools and then answers.
func serve(t *testing.T) (url string) {
	t.Helper()
	e, err := script.Open("../../../examples/storyteller/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Say(call("The tide.", "tide"), call("The wind.", "wind"), "Done.</think>"+answer+eos); err != nil {
		t.Fatal(err)
	}
	s := server.New(server.Options{Keys: []string{key}})
	s.Ready(e)
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return h.URL
}

// ended checks what an agent came to.
func ended(t *testing.T, calls []string, text string) {
	t.Helper()
	if got := strings.Join(calls, " "); got != `tide{"at": "Brest"} wind{"at": "Brest"}` && got != `tide{"at":"Brest"} wind{"at":"Brest"}` {
		t.Errorf("calls %s", got)
	}
	if text != answer {
		t.Errorf("answer %q", text)
	}
}

// TestChatCompletions: an agent with OpenAI's library, in pieces and by streams.
func TestChatCompletions(t *testing.T) {
	for name, ask := range map[string]func(context.Context, openai.Client, openai.ChatCompletionNewParams) (openai.ChatCompletion, error){
		"one piece": func(ctx context.Context, c openai.Client, p openai.ChatCompletionNewParams) (openai.ChatCompletion, error) {
			r, err := c.Chat.Completions.New(ctx, p)
			if err != nil {
				return openai.ChatCompletion{}, err
			}
			return *r, nil
		},
		"stream": func(ctx context.Context, c openai.Client, p openai.ChatCompletionNewParams) (openai.ChatCompletion, error) {
			stream, all := c.Chat.Completions.NewStreaming(ctx, p), openai.ChatCompletionAccumulator{}
			for stream.Next() {
				if !all.AddChunk(stream.Current()) {
					return all.ChatCompletion, errors.New("a chunk that belongs to no answer")
				}
			}
			return all.ChatCompletion, stream.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := openai.NewClient(option.WithBaseURL(serve(t)+"/v1/"), option.WithAPIKey(key))
			p := openai.ChatCompletionNewParams{Model: "m", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(question)}}
			p.StreamOptions.IncludeUsage = openai.Bool(true)
			for tool := range results {
				p.Tools = append(p.Tools, openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: tool, Parameters: schema}))
			}
			var calls []string
			for range 3 {
				r, err := ask(t.Context(), c, p)
				if err != nil {
					t.Fatal(err)
				}
				m := r.Choices[0].Message
				if r.Usage.TotalTokens == 0 {
					t.Error("no usage")
				}
				if len(m.ToolCalls) == 0 {
					ended(t, calls, m.Content)
					return
				}
				if r.Choices[0].FinishReason != "tool_calls" {
					t.Errorf("finish %q", r.Choices[0].FinishReason)
				}
				f := m.ToolCalls[0].Function
				calls = append(calls, f.Name+f.Arguments)
				p.Messages = append(p.Messages, m.ToParam(), openai.ToolMessage(results[f.Name], m.ToolCalls[0].ID))
			}
			t.Errorf("no end: %v", calls)
		})
	}
}

// TestResponses: an agent with OpenAI's library over the Responses protocol.
func TestResponses(t *testing.T) {
	for name, ask := range map[string]func(context.Context, openai.Client, responses.ResponseNewParams) (responses.Response, error){
		"one piece": func(ctx context.Context, c openai.Client, p responses.ResponseNewParams) (responses.Response, error) {
			r, err := c.Responses.New(ctx, p)
			if err != nil {
				return responses.Response{}, err
			}
			return *r, nil
		},
		"stream": func(ctx context.Context, c openai.Client, p responses.ResponseNewParams) (last responses.Response, err error) {
			stream := c.Responses.NewStreaming(ctx, p)
			for stream.Next() {
				if done, ok := stream.Current().AsAny().(responses.ResponseCompletedEvent); ok {
					last = done.Response
				}
			}
			return last, stream.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := openai.NewClient(option.WithBaseURL(serve(t)+"/v1/"), option.WithAPIKey(key))
			input := responses.ResponseInputParam{responses.ResponseInputItemParamOfMessage(question, responses.EasyInputMessageRoleUser)}
			p := responses.ResponseNewParams{Model: "m"}
			for tool := range results {
				p.Tools = append(p.Tools, responses.ToolParamOfFunction(tool, schema, false))
			}
			var calls []string
			for range 3 {
				p.Input = responses.ResponseNewParamsInputUnion{OfInputItemList: input}
				r, err := ask(t.Context(), c, p)
				if err != nil {
					t.Fatal(err)
				}
				found := false
				for _, item := range r.Output {
					if x, ok := item.AsAny().(responses.ResponseFunctionToolCall); ok {
						found = true
						calls = append(calls, x.Name+x.Arguments)
						result := responses.ResponseInputItemParamOfFunctionCallOutput(results[x.Name])
						result.OfFunctionCallOutput.CallID = openai.String(x.CallID)
						input = append(input, responses.ResponseInputItemParamOfFunctionCall(x.Arguments, x.CallID, x.Name), result)
					}
				}
				if !found {
					ended(t, calls, r.OutputText())
					return
				}
			}
			t.Errorf("no end: %v", calls)
		})
	}
}

// TestMessages: an agent with Anthropic's library.
func TestMessages(t *testing.T) {
	for name, ask := range map[string]func(context.Context, anthropic.Client, anthropic.MessageNewParams) (anthropic.Message, error){
		"one piece": func(ctx context.Context, c anthropic.Client, p anthropic.MessageNewParams) (anthropic.Message, error) {
			m, err := c.Messages.New(ctx, p)
			if err != nil {
				return anthropic.Message{}, err
			}
			return *m, nil
		},
		"stream": func(ctx context.Context, c anthropic.Client, p anthropic.MessageNewParams) (m anthropic.Message, err error) {
			stream := c.Messages.NewStreaming(ctx, p)
			for stream.Next() {
				if err := m.Accumulate(stream.Current()); err != nil {
					return m, err
				}
			}
			return m, stream.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := anthropic.NewClient(anthropicoption.WithBaseURL(serve(t)), anthropicoption.WithAPIKey(key))
			p := anthropic.MessageNewParams{Model: "claude-x", MaxTokens: 500, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(question))}}
			for tool := range results {
				p.Tools = append(p.Tools, anthropic.ToolUnionParam{OfTool: &anthropic.ToolParam{Name: tool, InputSchema: anthropic.ToolInputSchemaParam{Properties: schema["properties"]}}})
			}
			var calls []string
			for range 3 {
				m, err := ask(t.Context(), c, p)
				if err != nil {
					t.Fatal(err)
				}
				p.Messages = append(p.Messages, m.ToParam())
				text := ""
				for _, block := range m.Content {
					switch x := block.AsAny().(type) {
					case anthropic.TextBlock:
						text += x.Text
					case anthropic.ToolUseBlock:
						calls = append(calls, x.Name+string(x.Input))
						p.Messages = append(p.Messages, anthropic.NewUserMessage(anthropic.NewToolResultBlock(x.ID, results[x.Name], false)))
					}
				}
				if m.StopReason == anthropic.StopReasonEndTurn {
					ended(t, calls, text)
					return
				}
			}
			t.Errorf("no end: %v", calls)
		})
	}
}

// TestErrors: the libraries know the server's errors.
func TestErrors(t *testing.T) {
	url := serve(t)
	c := openai.NewClient(option.WithBaseURL(url+"/v1/"), option.WithAPIKey("pepper"), option.WithMaxRetries(0))
	_, err := c.Models.List(t.Context())
	var refused *openai.Error
	if !errors.As(err, &refused) || refused.StatusCode != 401 || refused.Code != "invalid_api_key" {
		t.Errorf("%v", err)
	}
	a := anthropic.NewClient(anthropicoption.WithBaseURL(url), anthropicoption.WithAPIKey(key), anthropicoption.WithMaxRetries(0))
	_, err = a.Messages.New(t.Context(), anthropic.MessageNewParams{Model: "m", MaxTokens: 1})
	var invalid *anthropic.Error
	if !errors.As(err, &invalid) || invalid.StatusCode != 400 || !strings.Contains(invalid.RawJSON(), "messages: found none") {
		t.Errorf("%v", err)
	}
}
