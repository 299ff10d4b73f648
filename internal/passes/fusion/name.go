package fusion

import (
	"strings"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// regionName makes a region's name: what the names of its parameters and
// states have in common, then its role. Where there is only one such name, the
// parameter that its input x comes from counts too. Names are for readers;
// nothing depends on them.
func regionName(role string, x *ir.Value, names ...string) string {
	var known []string
	for _, n := range names {
		if n != "" {
			known = append(known, n)
		}
	}
	if len(known) == 1 {
		if stem := commonStem(append(known, upstream(x)...)); stem != "" {
			return joined(stem, role)
		}
		known = known[:1]
	}
	if stem := commonStem(known); stem != "" {
		return joined(stem, role)
	}
	return joined(strings.TrimRight(commonPrefix(known), "._"), role)
}

func joined(stem, role string) string {
	if stem == "" || role == "" {
		return stem + role
	}
	return stem + "." + role
}

// commonStem is the dotted components that all names begin with; of a single
// name all but the last one.
func commonStem(names []string) string {
	var stem []string
	for i, name := range names {
		parts := strings.Split(name, ".")
		if i == 0 {
			stem = parts[:len(parts)-1]
		}
		n := 0
		for n < len(stem) && n < len(parts) && stem[n] == parts[n] {
			n++
		}
		stem = stem[:n]
	}
	return strings.Join(stem, ".")
}

// commonPrefix is the text that all names begin with.
func commonPrefix(names []string) string {
	prefix := ""
	for i, name := range names {
		if i == 0 {
			prefix = name
		}
		for !strings.HasPrefix(name, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	return prefix
}

// upstream is the parameter nearest behind a value, if there is one.
func upstream(v *ir.Value) []string {
	const far = 16
	for range far {
		if v == nil || v.Def == nil || len(v.Def.Args) == 0 {
			return nil
		}
		for _, a := range v.Def.Args {
			if a.Def != nil && a.Def.Op == ops.Dequantize {
				return []string{a.Def.Symbol}
			}
		}
		v = v.Def.Args[0]
	}
	return nil
}
