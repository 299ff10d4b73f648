package llvm

import (
	"strconv"
	"strings"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// writer prints modules as the library does. It writes the kinds of instructions that
// kernels consist of without the library's formatting, which took more time than all else
// in printing a kernel.
type writer struct{ b []byte }

// instructionBytes is about the length of an instruction's text, to allocate it at once.
const instructionBytes = 128

// textOf is the module's text, after a comment.
func textOf(m *ir.Module, comment []string) (string, error) {
	room := 0
	for _, f := range m.Funcs {
		for _, b := range f.Blocks {
			room += instructionBytes * len(b.Insts)
		}
	}
	w := &writer{make([]byte, 0, room)}
	for _, line := range comment {
		w.text("; ", strings.TrimRight(line, " "), "\n")
	}
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
	w.text("\t")
	switch x := b.Term.(type) {
	case *ir.TermBr:
		w.operands("br ", x.Target)
	case *ir.TermCondBr:
		w.operands("br ", x.Cond, x.TargetTrue, x.TargetFalse)
	default:
		w.text(x.LLString())
	}
	w.text("\n")
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
	case *ir.InstICmp:
		w.compare(x, "icmp ", x.Pred.String(), x.X, x.Y)
	case *ir.InstFCmp:
		w.compare(x, "fcmp ", x.Pred.String(), x.X, x.Y)
	case *ir.InstPhi:
		w.phi(x)
	default:
		if op, from, to := conversion(x); op != "" {
			w.result(x.(value.Named), op)
			w.operands("", from)
			w.text(" to ")
			w.typ(to)
			return true
		}
		op, a, b := twoOperands(x)
		if op == "" {
			return false
		}
		w.result(x.(value.Named), op)
		w.operands("", a)
		w.text(", ")
		w.name(b)
	}
	return true
}

// conversion returns the operation of an instruction that converts its operand; "" for
// other instructions.
func conversion(x ir.Instruction) (op string, from value.Value, to types.Type) {
	switch x := x.(type) {
	case *ir.InstBitCast:
		return "bitcast ", x.From, x.To
	case *ir.InstSExt:
		return "sext ", x.From, x.To
	case *ir.InstZExt:
		return "zext ", x.From, x.To
	case *ir.InstTrunc:
		return "trunc ", x.From, x.To
	case *ir.InstFPExt:
		return "fpext ", x.From, x.To
	case *ir.InstFPToSI:
		return "fptosi ", x.From, x.To
	}
	return "", nil, nil
}

// twoOperands returns the operation of an instruction with two operands of its own type;
// "" for other instructions.
func twoOperands(x ir.Instruction) (op string, a, b value.Value) {
	switch x := x.(type) {
	case *ir.InstFAdd:
		return "fadd ", x.X, x.Y
	case *ir.InstFSub:
		return "fsub ", x.X, x.Y
	case *ir.InstFMul:
		return "fmul ", x.X, x.Y
	case *ir.InstFDiv:
		return "fdiv ", x.X, x.Y
	case *ir.InstAdd:
		return "add ", x.X, x.Y
	case *ir.InstSub:
		return "sub ", x.X, x.Y
	case *ir.InstMul:
		return "mul ", x.X, x.Y
	case *ir.InstUDiv:
		return "udiv ", x.X, x.Y
	case *ir.InstURem:
		return "urem ", x.X, x.Y
	case *ir.InstShl:
		return "shl ", x.X, x.Y
	case *ir.InstLShr:
		return "lshr ", x.X, x.Y
	case *ir.InstAShr:
		return "ashr ", x.X, x.Y
	case *ir.InstAnd:
		return "and ", x.X, x.Y
	case *ir.InstOr:
		return "or ", x.X, x.Y
	case *ir.InstXor:
		return "xor ", x.X, x.Y
	}
	return "", nil, nil
}

func (w *writer) compare(v value.Named, op, predicate string, x, y value.Value) {
	w.result(v, op)
	w.text(predicate, " ")
	w.operands("", x)
	w.text(", ")
	w.name(y)
}

func (w *writer) phi(x *ir.InstPhi) {
	w.result(x, "phi ")
	w.typ(x.Typ)
	separator := " [ "
	for _, in := range x.Incs {
		w.text(separator)
		w.name(in.X)
		w.text(", ")
		w.name(in.Pred)
		separator = " ], [ "
	}
	w.text(" ]")
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

// name returns a value's name.
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
