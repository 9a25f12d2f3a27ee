// Package inside is the confined side of the sandbox's tests: a test program
// reads its [Spec], which the test wrote, and confines itself by it.
//
// Test programs only. It must never be part of a program that is installed.
package inside

import (
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"rookery/internal/sandbox"
)

// EnvSpec is the variable that carries the Spec as JSON.
const EnvSpec = "ROOKERY_TEST_SANDBOX"

// FDReport is where the program writes its report; FDFirst is the first
// descriptor after it: the root if there is one, then the rules, then Extra.
const (
	FDReport = 3
	FDFirst  = 4
)

// Spec says how to confine and what to do then.
type Spec struct {
	Role     sandbox.Role
	HasRoot  bool
	Rules    []sandbox.Access // one descriptor each
	Extra    int              // descriptors after those
	Private  bool
	ABI      int
	Strict   bool
	TwoSteps bool               // as a spare: stage 1, then stage 2
	Without  sandbox.Protection // needs a build with the tag rookery_attack
	Job      string             // what to do inside
	Args     []string
}

// Inherit reads the Spec and the numbers of the extra descriptors.
func Inherit() (Spec, []int, error) {
	var s Spec
	if err := json.Unmarshal([]byte(os.Getenv(EnvSpec)), &s); err != nil {
		return s, nil, fmt.Errorf("%s: %w", EnvSpec, err)
	}
	first := FDFirst + len(s.Rules)
	if s.HasRoot {
		first++
	}
	var extra []int
	for fd := FDReport; fd < first+s.Extra; fd++ {
		unix.CloseOnExec(fd)
		if fd >= first {
			extra = append(extra, fd)
		}
	}
	return s, extra, nil
}

// Options are the sandbox options of the Spec.
func (s Spec) Options() sandbox.Options {
	o := sandbox.Options{PrivateUID: s.Private, LandlockABI: s.ABI, Strict: s.Strict}
	next := FDFirst
	if s.HasRoot {
		o.Root = next
		next++
	}
	for i, a := range s.Rules {
		o.Rules = append(o.Rules, sandbox.Rule{FD: next + i, Access: a})
	}
	return takeAway(o, s.Without)
}

// Confine enters as the Spec says.
func (s Spec) Confine() (sandbox.Report, error) {
	if !s.TwoSteps {
		return sandbox.Enter(s.Role, s.Options())
	}
	if r, err := sandbox.EnterStage1(s.Role, s.Options()); err != nil {
		return r, err
	}
	return sandbox.EnterStage2(s.Role, s.Options())
}
