package authd

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"rookery/authd/internal/passhash"
)

// The command lines with which rookeryctl runs this program for its own ends:
// the schemes are this program's alone.
const (
	HashFlag    = "--hash"    // SCHEME ROUNDS USER; the password on standard input
	SchemesFlag = "--schemes" // a JSON list on standard output
)

// HashMode does what HashFlag or SchemesFlag at the start of args (the command
// line without the program's name) ask for. done says that one was there; the
// program then ends with the code exit.
func HashMode(args []string, in io.Reader, out, errOut io.Writer) (done bool, exit int) {
	if len(args) == 0 || args[0] != HashFlag && args[0] != SchemesFlag {
		return false, 0
	}
	var text string
	var err error
	if args[0] == SchemesFlag {
		text, err = schemesJSON()
	} else {
		text, err = hashStdin(args[1:], in)
	}
	if err != nil {
		fmt.Fprintln(errOut, err)
		return true, 64 // EX_USAGE
	}
	fmt.Fprintln(out, text)
	return true, 0
}

func schemesJSON() (string, error) {
	type row struct {
		Scheme  string `json:"scheme"`
		CanHash bool   `json:"can_hash"`
		Weak    bool   `json:"weak"`
		Text    string `json:"text"`
	}
	var rows []row
	for _, s := range passhash.Schemes() {
		rows = append(rows, row{s.Name, s.CanHash, s.Weak, s.Describe})
	}
	b, err := json.Marshal(rows)
	return string(b), err
}

func hashStdin(args []string, in io.Reader) (string, error) {
	if len(args) != 3 {
		return "", fmt.Errorf("%s takes a scheme, a number of rounds and a user", HashFlag)
	}
	rounds, err := strconv.Atoi(args[1])
	if err != nil || rounds < 0 {
		return "", fmt.Errorf("%q is not a number of rounds", args[1])
	}
	password, err := io.ReadAll(io.LimitReader(in, passhash.MaxPassword+1))
	if err != nil {
		return "", err
	}
	defer clear(password)
	return passhash.Hash(args[0], passhash.Gen{User: args[2], Password: password, Rounds: rounds, Rand: rand.Reader})
}
