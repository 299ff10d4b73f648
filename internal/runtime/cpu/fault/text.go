package fault

import (
	"fmt"
	"strings"
)

// The names of the handler's code and of its state.
const (
	handlerName = "smelt_fault"
	stateName   = "smelt_fault_state"
)

// layout is where a signal's handler finds things, by offset.
type layout struct {
	address int // of the fault, in siginfo_t
	// machine is where ucontext_t has the address of the registers; 0 if it has them.
	machine int
	pc      int // of the instruction, in ucontext_t or among the registers
}

// layouts are those of the systems' headers: siginfo_t and ucontext_t of Linux's
// asm/siginfo.h, asm/ucontext.h and asm/sigcontext.h; of Darwin's sys/signal.h,
// sys/_types/_ucontext.h and mach/*/_structs.h.
var layouts = map[string]layout{
	"linux/amd64":  {address: 16, pc: 40 + 16*8},
	"linux/arm64":  {address: 16, pc: 176 + 8 + 31*8 + 8},
	"darwin/amd64": {address: 24, machine: 48, pc: 16 + 16*8},
	"darwin/arm64": {address: 24, machine: 48, pc: 16 + 29*8 + 3*8},
}

// handlerText is the handler as LLVM IR. Until it ends the process it calls
// nothing, and then only what the C library allows in a handler of signals. A
// second thread with a fault waits for the end that the first one brings.
func handlerText(goos, goarch string) (string, error) {
	l, ok := layouts[goos+"/"+goarch]
	if !ok {
		return "", fmt.Errorf("%s on %s is not among those it is written for", goos, goarch)
	}
	registers := "%context.at"
	load := ""
	if l.machine > 0 {
		registers = "%machine"
		load = fmt.Sprintf(`
  %%machine.at = add i64 %%context.at, %d
  %%machine.p = inttoptr i64 %%machine.at to i64*
  %%machine = load i64, i64* %%machine.p`, l.machine)
	}
	return strings.NewReplacer("ADDRESS", fmt.Sprint(l.address), "LOAD", load, "REGISTERS", registers, "PC", fmt.Sprint(l.pc),
		"STATUS", fmt.Sprint(Status)).Replace(handlerTemplate), nil
}

const handlerTemplate = `; SIGBUS: ends the process if a kernel reads bytes of a mapped file that are gone.
declare i64 @write(i32, i8*, i64)
declare void @_exit(i32)
declare i32 @pause()

; table, readers, taken, where Go's code begins and ends, Go's handler, report
@smelt_fault_state = global [7 x i64] zeroinitializer, align 64

define internal void @smelt_put(i32 %file, i64 %at, i64 %bytes) nounwind {
entry:
  br label %next

next:
  %done = phi i64 [ 0, %entry ], [ %done.more, %wrote ]
  %more = icmp ult i64 %done, %bytes
  br i1 %more, label %put, label %end

put:
  %from = add i64 %at, %done
  %from.p = inttoptr i64 %from to i8*
  %left = sub i64 %bytes, %done
  %written = call i64 @write(i32 %file, i8* %from.p, i64 %left)
  %some = icmp sgt i64 %written, 0
  br i1 %some, label %wrote, label %end

wrote:
  %done.more = add i64 %done, %written
  br label %next

end:
  ret void
}

define void @smelt_fault(i32 %signal, i8* %info, i8* %context) nounwind {
entry:
  %state = ptrtoint [7 x i64]* @smelt_fault_state to i64
  %table.p = inttoptr i64 %state to i64*
  %readers.at = add i64 %state, 8
  %readers.p = inttoptr i64 %readers.at to i64*
  %taken.at = add i64 %state, 16
  %taken.p = inttoptr i64 %taken.at to i64*
  %from.at = add i64 %state, 24
  %from.p = inttoptr i64 %from.at to i64*
  %end.at = add i64 %state, 32
  %end.p = inttoptr i64 %end.at to i64*
  %pass.at = add i64 %state, 40
  %pass.p = inttoptr i64 %pass.at to i64*

  %info.at = ptrtoint i8* %info to i64
  %address.at = add i64 %info.at, ADDRESS
  %address.p = inttoptr i64 %address.at to i64*
  %address = load i64, i64* %address.p
  %context.at = ptrtoint i8* %context to i64LOAD
  %pc.at = add i64 REGISTERS, PC
  %pc.p = inttoptr i64 %pc.at to i64*
  %pc = load i64, i64* %pc.p

  %go.from = load volatile i64, i64* %from.p
  %go.end = load volatile i64, i64* %end.p
  %go.bytes = sub i64 %go.end, %go.from
  %go.offset = sub i64 %pc, %go.from
  %go = icmp ult i64 %go.offset, %go.bytes
  br i1 %go, label %pass, label %read

read:
  %before = atomicrmw add i64* %readers.p, i64 1 seq_cst
  %table = load atomic i64, i64* %table.p seq_cst, align 8
  %count.p = inttoptr i64 %table to i64*
  %count = load i64, i64* %count.p
  %entries = add i64 %table, 8
  br label %next

next:
  %i = phi i64 [ 0, %read ], [ %i.next, %other ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %look, label %none

look:
  %entry.offset = mul i64 %i, 48
  %entry.at = add i64 %entries, %entry.offset
  %map.p = inttoptr i64 %entry.at to i64*
  %map = load i64, i64* %map.p
  %bytes.at = add i64 %entry.at, 8
  %bytes.p = inttoptr i64 %bytes.at to i64*
  %bytes = load i64, i64* %bytes.p
  %offset = sub i64 %address, %map
  %inside = icmp ult i64 %offset, %bytes
  br i1 %inside, label %found, label %other

other:
  %i.next = add i64 %i, 1
  br label %next

none:
  %after = atomicrmw sub i64* %readers.p, i64 1 seq_cst
  br label %pass

pass:
  %go.handler = load volatile i64, i64* %pass.p
  %go.handler.p = inttoptr i64 %go.handler to void (i32, i8*, i8*)*
  tail call void %go.handler.p(i32 %signal, i8* %info, i8* %context)
  ret void

found:
  %taken = atomicrmw xchg i64* %taken.p, i64 1 seq_cst
  %first = icmp eq i64 %taken, 0
  br i1 %first, label %end, label %wait

end:
  %report.at = add i64 %state, 48
  %report.p = inttoptr i64 %report.at to i64*
  %report = load atomic i64, i64* %report.p seq_cst, align 8
  %reports = icmp ne i64 %report, 0
  br i1 %reports, label %tell, label %say

tell:
  %head.bytes.p = inttoptr i64 %report to i64*
  %head.bytes = load i64, i64* %head.bytes.p
  %tail.bytes.at = add i64 %report, 8
  %tail.bytes.p = inttoptr i64 %tail.bytes.at to i64*
  %tail.bytes = load i64, i64* %tail.bytes.p
  %head = add i64 %report, 16
  %tail = add i64 %head, %head.bytes
  %quoted.at = add i64 %entry.at, 32
  %quoted.p = inttoptr i64 %quoted.at to i64*
  %quoted = load i64, i64* %quoted.p
  %quoted.bytes.at = add i64 %entry.at, 40
  %quoted.bytes.p = inttoptr i64 %quoted.bytes.at to i64*
  %quoted.bytes = load i64, i64* %quoted.bytes.p
  call void @smelt_put(i32 1, i64 %head, i64 %head.bytes)
  call void @smelt_put(i32 1, i64 %quoted, i64 %quoted.bytes)
  call void @smelt_put(i32 1, i64 %tail, i64 %tail.bytes)
  br label %say

say:
  %line.at = add i64 %entry.at, 16
  %line.p = inttoptr i64 %line.at to i64*
  %line = load i64, i64* %line.p
  %line.bytes.at = add i64 %entry.at, 24
  %line.bytes.p = inttoptr i64 %line.bytes.at to i64*
  %line.bytes = load i64, i64* %line.bytes.p
  call void @smelt_put(i32 2, i64 %line, i64 %line.bytes)
  call void @_exit(i32 STATUS)
  unreachable

wait:
  %woken = call i32 @pause()
  br label %wait
}
`
