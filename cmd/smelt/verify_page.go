package main

import (
	"errors"
	"fmt"
)

// verifyPage prints checks as they end, or nothing but the JSON at the end.
type verifyPage struct {
	page
	json bool
}

func newVerifyPage(io stdio, json bool) *verifyPage {
	return &verifyPage{page{w: io.out, st: styleFor(io.out)}, json}
}

// begin prints what is above the checks; checked tells that clang looked at the texts.
func (p *verifyPage) begin(r *verifyReport, checked bool) {
	if p.json {
		return
	}
	p.printf("%s  %s\n\n", p.st.bold("Verify"), r.Path)
	how := "%s run by %s"
	if checked {
		how = "%s compiled by %s, address spaces checked"
	}
	p.line("kernels", how, grouped(r.Kernels), r.Compiler)
	p.line("caches", "attended rows %s, index keys %s", r.CacheRows, r.CacheKeys)
	p.line("bound", "%g for a logit: %s", r.Bound, r.Why)
	p.printf("\n")
}

func (p *verifyPage) check(c verifyCheck) {
	if p.json {
		return
	}
	verdict := "ok"
	if !c.OK {
		verdict = p.st.yellow("DIFFERS")
	}
	difference := fmt.Sprintf("%.1e", c.Difference)
	if c.Difference < 0 {
		difference = "no finite number"
	}
	p.printf("  %-14s and %s  logits differ by %s at most  %s of %s choices differ", c.Name, plural(c.Decoded, "token"), difference, grouped(c.Differ), grouped(c.Choices))
	if c.Codes > 0 {
		p.printf("  %s of %s rounded numbers", grouped(c.CodesOther), grouped(c.Codes))
	}
	p.printf("  %s\n", verdict)
	if c.Trouble != "" {
		p.printf("    %s\n", c.Trouble)
	}
}

// broken prints what an error leaves, for programs: people have seen it. The error stays
// one.
func (p *verifyPage) broken(r *verifyReport, err error) error {
	if !p.json {
		return err
	}
	r.Error = reported(err)
	return errors.Join(err, writeIndented(p.w, r))
}

// end prints the verdict and turns a bad one into an error.
func (p *verifyPage) end(r *verifyReport) error {
	failed := 0
	for _, c := range r.Checks {
		if !c.OK {
			failed++
		}
	}
	r.OK = failed == 0
	if p.json {
		p.err = writeIndented(p.w, r)
	} else if r.OK {
		p.printf("\n%s in %.1f s: the kernels compute what the evaluator does\n", plural(len(r.Checks), "check"), r.Seconds)
	}
	switch {
	case p.err != nil:
		return p.err
	case !r.OK:
		return fmt.Errorf("%d of %s differ from the evaluator by more than rounding, which moves logits by %g at most", failed, plural(len(r.Checks), "check"), r.Bound)
	}
	return nil
}
