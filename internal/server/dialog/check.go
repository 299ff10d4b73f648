package dialog

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"smelt.example/smelt/internal/models/chat"
)

// checks are what an answer is compared with when it is there.
type checks struct {
	tools  map[string]jsontext.Value // their schemas, which are made ready when they are called
	json   bool
	schema *schema
	form   error // why the schema is not checked
}

// newChecks makes the answer's schema ready, which has to be one. One of a tool that is
// none is shown to the model all the same.
func newChecks(tools []Tool, f Format) (c checks, err error) {
	c.tools, c.json = map[string]jsontext.Value{}, f.JSON
	for _, t := range tools {
		c.tools[t.Name] = t.Parameters
	}
	if f.Schema != nil {
		if c.schema, err = compile(f.Schema); errors.Is(err, errDynamic) {
			c.form = err
		} else if err != nil {
			return c, &Error{f.Field, fmt.Sprintf("expected a JSON schema that refers to nothing outside: %s", firstLine(err))}
		}
	}
	return c, nil
}

var errOutside = errors.New("a request's schema may not refer to files or the network")

// inside loads nothing.
type inside struct{}

func (inside) Load(string) (any, error) { return nil, errOutside }

func compile(text jsontext.Value) (*schema, error) {
	if len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(inside{})
	const name = "request:schema"
	if err := c.AddResource(name, doc); err != nil {
		return nil, err
	}
	compiled, err := c.Compile(name)
	if err != nil {
		return nil, err
	}
	return newSchema(compiled)
}

// Check says where a whole answer is not what was asked for. Nothing in smelt holds the
// model to a schema yet, so this is all there is.
func (t *Turn) Check(m chat.Message) (wrong []string) {
	for i, call := range m.ToolCalls {
		parameters, ok := t.checks.tools[call.Name]
		if !ok {
			wrong = append(wrong, fmt.Sprintf("tool call %d: %.80q is none of the tools", i, call.Name))
			continue
		}
		schema, err := compile(parameters)
		if errors.Is(err, errDynamic) {
			wrong = append(wrong, fmt.Sprintf("tool call %d (%s): arguments: %v", i, call.Name, err))
			continue
		}
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("tool call %d (%s): arguments are not checked: parameters are no JSON schema that refers to nothing outside: %s", i, call.Name, firstLine(err)))
			continue
		}
		if err := validate(schema, call.Arguments); err != nil {
			wrong = append(wrong, fmt.Sprintf("tool call %d (%s): arguments: %s", i, call.Name, firstLine(err)))
		}
	}
	if t.Options.Call && len(m.ToolCalls) == 0 {
		wrong = append(wrong, "no tool was called, though one had to be")
	}
	if t.checks.json && len(m.ToolCalls) == 0 {
		err := validate(t.checks.schema, m.Content)
		if err == nil {
			err = t.checks.form
		}
		if err != nil {
			wrong = append(wrong, "content: "+firstLine(err))
		}
	}
	return wrong
}

// validate compares a text with a schema; with none it only has to be JSON.
func validate(s *schema, text string) error {
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return fmt.Errorf("no JSON: %w", err)
	}
	if s == nil {
		return nil
	}
	return s.validate(v)
}

// firstLine makes one line of an error, without the name that schemas have here and not
// as long as what a schema may list.
func firstLine(err error) string {
	lines := strings.Split(brief(err).Error(), "\n")
	if len(lines) > 1 { // the first of a validation says only that there are others
		lines = lines[1:]
	}
	return fmt.Sprintf("%.300s", strings.TrimPrefix(strings.TrimSpace(strings.ReplaceAll(lines[0], "request:schema", "")), "- "))
}
