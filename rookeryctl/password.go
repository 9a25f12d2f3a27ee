package rookeryctl

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"rookery/internal/secret"
	"rookery/rookeryctl/internal/control"
)

// maxPassword is what a login may send too.
const maxPassword = 4096

// password asks on the terminal without echo (twice if again), or reads the
// first line of standard input where that is no terminal.
func (a *app) password(prompt string, again bool) (secret.Bytes, error) {
	f, isFile := a.in.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		line, err := bufio.NewReaderSize(io.LimitReader(a.in, maxPassword+2), maxPassword+2).ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return secret.Bytes{}, control.Errorf(control.ExitUsage, "the password cannot be read: %v", err)
		}
		return checkPassword(bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")))
	}
	fmt.Fprint(a.errOut, prompt)
	first, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.errOut)
	if err != nil {
		return secret.Bytes{}, control.Errorf(control.ExitUsage, "the password cannot be read: %v", err)
	}
	if again {
		fmt.Fprint(a.errOut, "Again: ")
		second, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(a.errOut)
		if err != nil || !bytes.Equal(first, second) {
			clear(first)
			clear(second)
			return secret.Bytes{}, control.Errorf(control.ExitUsage, "the two differ; try again")
		}
		clear(second)
	}
	return checkPassword(first)
}

func checkPassword(b []byte) (secret.Bytes, error) {
	switch {
	case len(b) == 0:
		return secret.Bytes{}, control.Errorf(control.ExitUsage, "the password is empty")
	case len(b) > maxPassword:
		return secret.Bytes{}, control.Errorf(control.ExitUsage, "the password is longer than %d bytes", maxPassword)
	case bytes.IndexByte(b, 0) >= 0:
		return secret.Bytes{}, control.Errorf(control.ExitUsage, "the password holds a NUL byte")
	}
	return secret.New(b), nil
}
