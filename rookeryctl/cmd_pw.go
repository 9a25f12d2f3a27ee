package rookeryctl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"rookery/internal/secret"
	"rookery/internal/settings"
	"rookery/rookeryctl/internal/control"
)

// pwCommand makes a stored password. The schemes are authd's own code, so the
// program rookery-authd is run for it: rookery-authd --hash SCHEME [ROUNDS],
// the password on standard input, the result on standard output; and
// rookery-authd --schemes, a JSON list.
func (a *app) pwCommand() *cobra.Command {
	var scheme, user string
	var rounds int
	var listSchemes bool
	c := &cobra.Command{
		Use:   "pw",
		Short: "Make a stored password for a passwd-file",
		Long:  "Make a stored password for a passwd-file. The password is asked for twice, or read from standard input.",
		Args:  usage(cobra.NoArgs, "rookeryctl pw [-s SCHEME]; the password is asked for"),
		RunE: func(*cobra.Command, []string) error {
			if listSchemes {
				return a.listSchemes()
			}
			return a.hash(scheme, user, rounds)
		},
	}
	c.Flags().StringVarP(&scheme, "scheme", "s", "SHA512-CRYPT", "the `SCHEME`")
	c.Flags().IntVarP(&rounds, "rounds", "r", 0, "rounds, for schemes that have some; 0 for the usual number")
	c.Flags().StringVarP(&user, "user", "u", "", "the `USER`, for schemes that hash the name too")
	c.Flags().BoolVarP(&listSchemes, "list", "l", false, "list the schemes")
	return c
}

// authdProgram finds the program beside this one, or where the configuration
// says that programs are.
func (a *app) authdProgram() (string, error) {
	const name = "rookery-authd"
	var tried []string
	if self, err := os.Executable(); err == nil {
		tried = append(tried, filepath.Join(filepath.Dir(self), name))
	}
	if r, err := a.load(); err == nil {
		if dir := settings.LibexecDir.Get(r.Set); dir != "" {
			tried = append(tried, filepath.Join(dir, name))
		}
	}
	for _, path := range tried {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o111 != 0 {
			return path, nil
		}
	}
	return "", control.Errorf(control.ExitUnavailable, "there is no %s; set libexec_dir to the folder of the server's programs", strings.Join(tried, " or "))
}

// runAuthd runs it with an empty environment; its exit code becomes ours.
func (a *app) runAuthd(stdin io.Reader, args ...string) ([]byte, error) {
	program, err := a.authdProgram()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, args...)
	cmd.Env = []string{}
	cmd.Stdin = stdin
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var ee *exec.ExitError
	if errors.As(err, &ee) && ee.ExitCode() > 0 {
		return nil, &control.Error{Exit: ee.ExitCode(), Text: strings.TrimSpace(stderr.String())}
	}
	if err != nil {
		return nil, control.Errorf(control.ExitUnavailable, "%s: %v", program, err)
	}
	return out, nil
}

func (a *app) listSchemes() error {
	out, err := a.runAuthd(nil, "--schemes")
	if err != nil {
		return err
	}
	return a.print(out)
}

func (a *app) hash(scheme, user string, rounds int) error {
	if rounds < 0 {
		return control.Errorf(control.ExitUsage, "--rounds %d is below 0", rounds)
	}
	password, err := a.password("New password: ", true)
	if err != nil {
		return err
	}
	defer password.Wipe()
	out, err := a.hashOf(scheme, user, rounds, password)
	if err != nil {
		return err
	}
	if !a.json {
		fmt.Fprintf(a.out, "%s\n", out)
		return nil
	}
	body, err := json.Marshal(map[string]string{"hash": out})
	if err != nil {
		return control.Errorf(control.ExitSoftware, "%v", err)
	}
	return a.print(body)
}

func (a *app) hashOf(scheme, user string, rounds int, password secret.Bytes) (string, error) {
	out, err := a.runAuthd(bytes.NewReader(password.Reveal()), "--hash", scheme, strconv.Itoa(rounds), user)
	return strings.TrimSpace(string(out)), err
}
