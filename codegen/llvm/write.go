package llvm

import (
	"strconv"
	"strings"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// writer prints modules as the library does, but for the kinds of instructions
// that kernels are made of without its formatting, which took longer than all
// else that printing a kernel takes.
type writer struct{ b []byte }

// textOf is the module's text.
func textOf(m *ir.Module) (string, error) {
	w := &writer{}
	for i, f := range m.Funcs {
		if i > 0 {
			w.text("\n")
		}
		if len(f.Blocks) == 0 {
			w.text(f.LLString(), "\n")
			continue
		}
		if err := f.AssignIDs(); err != nil {
			return "", err
		}
		blocks := f.Blocks
		f.Blocks = nil
		declaration := f.LLString()
		f.Blocks = blocks
		w.text("define", strings.TrimPrefix(declaration, "declare"), " {\n")
		for i, b := range blocks {
			if i > 0 {
				w.text("\n")
			}
			w.block(b)
		}
		w.text("}\n")
	}
	return string(w.b), nil
}

func (w *writer) text(parts ...string) {
	for _, s := range parts {
		w.b = append(w.b, s...)
	}
}

func (w *writer) block(b *ir.Block) {
	w.text(strings.TrimPrefix(b.Ident(), "%"), ":\n")
	for _, x := range b.Insts {
		w.text("\t")
		if !w.instruction(x) {
			w.text(x.LLString())
		}
		w.text("\n")
	}
	w.text("\t", b.Term.LLString(), "\n")
}

// instruction writes one of the common kinds, as kernels use them: without flags
// or metadata.
func (w *writer) instruction(x ir.Instruction) bool {
	switch x := x.(type) {
	case *ir.InstLoad:
		w.result(x, "load ")
		w.typ(x.ElemType)
		w.operands(", ", x.Src)
		w.align(x.Align)
	case *ir.InstStore:
		w.text("store ")
		w.operands("", x.Src, x.Dst)
		w.align(x.Align)
	case *ir.InstGetElementPtr:
		w.result(x, "getelementptr ")
		w.typ(x.ElemType)
		w.operands(", ", x.Src)
		w.operands(", ", x.Indices...)
	case *ir.InstBitCast:
		w.result(x, "bitcast ")
		w.operands("", x.From)
		w.text(" to ")
		w.typ(x.To)
	case *ir.InstShuffleVector:
		w.result(x, "shufflevector ")
		w.operands("", x.X, x.Y, x.Mask)
	case *ir.InstInsertElement:
		w.result(x, "insertelement ")
		w.operands("", x.X, x.Elem, x.Index)
	case *ir.InstExtractElement:
		w.result(x, "extractelement ")
		w.operands("", x.X, x.Index)
	case *ir.InstSelect:
		w.result(x, "select ")
		w.operands("", x.Cond, x.ValueTrue, x.ValueFalse)
	case *ir.InstCall:
		w.call(x)
	case *ir.InstFAdd:
		w.binary(x, "fadd ", x.X, x.Y)
	case *ir.InstFMul:
		w.binary(x, "fmul ", x.X, x.Y)
	case *ir.InstAdd:
		w.binary(x, "add ", x.X, x.Y)
	case *ir.InstMul:
		w.binary(x, "mul ", x.X, x.Y)
	case *ir.InstShl:
		w.binary(x, "shl ", x.X, x.Y)
	case *ir.InstAnd:
		w.binary(x, "and ", x.X, x.Y)
	default:
		return false
	}
	return true
}

func (w *writer) call(x *ir.InstCall) {
	if x.Type() == types.Void {
		w.text("call ")
	} else {
		w.result(x, "call ")
	}
	w.typ(x.Type())
	w.text(" ", x.Callee.Ident(), "(")
	w.operands("", x.Args...)
	w.text(")")
}

func (w *writer) binary(v value.Named, op string, x, y value.Value) {
	w.result(v, op)
	w.operands("", x)
	w.text(", ")
	w.name(y)
}

func (w *writer) result(v value.Named, op string) {
	w.name(v)
	w.text(" = ", op)
}

// operands writes values with their types, separated by commas, after a prefix.
func (w *writer) operands(prefix string, vs ...value.Value) {
	for _, v := range vs {
		w.text(prefix)
		w.typ(v.Type())
		w.text(" ")
		w.name(v)
		prefix = ", "
	}
}

func (w *writer) align(a ir.Align) {
	if a != 0 {
		w.text(", align ")
		w.b = strconv.AppendUint(w.b, uint64(a), 10)
	}
}

// name is how a value is called.
func (w *writer) name(v value.Value) {
	if n, ok := v.(interface {
		IsUnnamed() bool
		ID() int64
	}); ok && n.IsUnnamed() {
		w.b = strconv.AppendInt(append(w.b, '%'), n.ID(), 10)
		return
	}
	w.text(v.Ident())
}

func (w *writer) typ(t types.Type) {
	switch t := t.(type) {
	case *types.VectorType:
		w.b = strconv.AppendUint(append(w.b, '<'), t.Len, 10)
		w.text(" x ")
		w.typ(t.ElemType)
		w.text(">")
	case *types.PointerType:
		w.typ(t.ElemType)
		w.text("*")
	case *types.IntType:
		w.b = strconv.AppendUint(append(w.b, 'i'), t.BitSize, 10)
	default:
		w.text(t.String())
	}
}
