// Evil is each of the programs that master starts, taken over: it starts and
// confines itself as the real one does, and then does what the test tells it
// to, over whatever stream such a process has. The linker says which program
// it is and what it aims at.
//
// Tests only; nothing that is installed may be built from it.
package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"rookery/internal/attack"
	"rookery/internal/child"
)

// role and aim are set by the linker: a child.Role, and an attack.Env as JSON
// in hex (processes get no arguments of ours and an environment of master's).
var role, aim string

func main() {
	if done, code := child.MakeDirsMode(os.Args[1:]); done {
		os.Exit(code)
	}
	os.Exit(run())
}

func run() int {
	switch child.Role(role) {
	case child.IMAPWorker, child.POP3Worker:
		return runWorker(child.Role(role))
	case child.Login:
		return exit(runLogin())
	case child.Authd:
		return exit(runAuthd())
	case child.Logd:
		return exit(runLogd())
	}
	fmt.Fprintln(os.Stderr, "evil: no role")
	return 64
}

func exit(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "evil:", err)
		return 70
	}
	return 0
}

// target reads what the linker put in.
func target() (attack.Env, error) {
	var env attack.Env
	text, err := hex.DecodeString(aim)
	if err == nil {
		err = json.Unmarshal(text, &env)
	}
	return env, err
}

// summary is what the test gets of a whole catalogue.
type summary struct {
	Tried   int
	Trapped int               // by seccomp
	Done    []string          // came through
	NoAim   []string          // had no target
	Why     map[string]string // how others were refused
	Error   string
}

// try runs the catalogue and gives the summary as a line of JSON.
func try(change func(*attack.Env)) []byte {
	s := summary{Why: map[string]string{}}
	env, err := target()
	if err == nil {
		change(&env)
		var out []attack.Outcome
		out, err = attack.RunAll(&env, attack.Catalogue())
		s.Tried = len(out)
		for _, o := range out {
			switch {
			case o.NoAim:
				s.NoAim = append(s.NoAim, o.Name)
			case o.Done:
				s.Done = append(s.Done, o.Name)
			case o.Trapped:
				s.Trapped++
			default:
				s.Why[o.Name] = o.Detail
			}
		}
	}
	if err != nil {
		s.Error = err.Error()
	}
	text, err := json.Marshal(s)
	if err != nil {
		return []byte("{}\n")
	}
	return append(text, '\n')
}
