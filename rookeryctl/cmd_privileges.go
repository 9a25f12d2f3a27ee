package rookeryctl

import (
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"rookery/internal/ipc/ctlmsg"
	"rookery/internal/sandbox"
	"rookery/internal/secret"
	"rookery/rookeryctl/internal/control"
	"rookery/rookeryctl/internal/show"
)

// process is one of the server's processes, as master tells it.
type process struct {
	Role  string `json:"role"`
	PID   int    `json:"pid"`
	User  string `json:"user,omitempty"`
	Since string `json:"since,omitempty"`
	// Landlock is what the process itself reported on entering its sandbox:
	// /proc does not show it.
	Landlock string `json:"landlock,omitempty"`
}

// privilege is a process with what the system says of it.
type privilege struct {
	process
	State *sandbox.ProcState `json:"state,omitempty"`
	Error string             `json:"error,omitempty"`
}

func (a *app) privilegesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "privileges",
		Short: "Show what each running process may do, as the system tells it",
		Long:  "Show each running process's uid, groups, capabilities, namespaces, seccomp, Landlock and descriptors, as read from /proc. Needs root to see all.",
		Args:  usage(cobra.NoArgs, "rookeryctl privileges"),
		RunE:  func(*cobra.Command, []string) error { return a.privileges() },
	}
}

func (a *app) privileges() error {
	client, err := a.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	body, err := client.Ask(askTimeout, ctlmsg.Processes, secret.Bytes{})
	if err != nil {
		return err
	}
	var procs []process
	if err := json.Unmarshal(body, &procs); err != nil {
		return control.Errorf(control.ExitSoftware, "the answer is not JSON: %v", err)
	}
	rows := readPrivileges(withMaster(procs, client.ServerPID))
	if a.json {
		out, err := json.Marshal(rows)
		if err != nil {
			return control.Errorf(control.ExitSoftware, "%v", err)
		}
		return a.print(out)
	}
	for i, row := range rows {
		if i > 0 {
			fmt.Fprintln(a.out)
		}
		writePrivilege(a.out, row)
	}
	return nil
}

// withMaster puts master first, whom the kernel named at the socket.
func withMaster(procs []process, pid int) []process {
	for _, p := range procs {
		if p.PID == pid {
			return procs
		}
	}
	return append([]process{{Role: "master", PID: pid}}, procs...)
}

func readPrivileges(procs []process) []privilege {
	rows := make([]privilege, 0, len(procs))
	for _, p := range procs {
		row := privilege{process: p}
		state, err := sandbox.ReadProc(p.PID)
		if err != nil {
			row.Error = err.Error()
		} else {
			if p.Landlock != "" {
				state.Landlock = p.Landlock
			}
			row.State = &state
		}
		rows = append(rows, row)
	}
	return rows
}

var seccompWords = [...]string{"none", "strict", "filter"}

func writePrivilege(w io.Writer, row privilege) {
	who := row.Role
	if row.User != "" {
		who += " for " + show.Clean(row.User)
	}
	fmt.Fprintf(w, "%s, process %d\n", who, row.PID)
	s := row.State
	if s == nil {
		fmt.Fprintf(w, "  gone or not to be seen: %s\n", row.Error)
		return
	}
	seccomp := strconv.Itoa(s.Seccomp)
	if s.Seccomp >= 0 && s.Seccomp < len(seccompWords) {
		seccomp = seccompWords[s.Seccomp]
	}
	for _, line := range [][2]string{
		{"uid, gid", fmt.Sprintf("%s, %s", same(s.UIDs), same(s.GIDs))},
		{"groups", numbersText(s.Groups)},
		{"capabilities", capsText(s.Caps)},
		{"no_new_privs", strconv.FormatBool(s.NoNewPrivs)},
		{"seccomp", fmt.Sprintf("%s (%d filters), %d threads%s", seccomp, s.Filters, s.Threads, unconfined(s.Unconfined))},
		{"landlock", s.Landlock},
		{"own namespaces", strings.Join(s.OwnNS, " ")},
		{"root directory", s.Root},
		{"dumpable", strconv.FormatBool(s.Dumpable)},
	} {
		if line[1] == "" {
			line[1] = "none"
		}
		fmt.Fprintf(w, "  %-15s %s\n", line[0]+":", show.Clean(line[1]))
	}
	fmt.Fprintf(w, "  descriptors:\n")
	for _, d := range s.Descriptors {
		fmt.Fprintf(w, "    %3d %s\n", d.FD, show.Clean(d.Target))
	}
}

// same writes one number if all four ids are equal.
func same(ids [4]int) string {
	if ids[0] == ids[1] && ids[1] == ids[2] && ids[2] == ids[3] {
		return strconv.Itoa(ids[0])
	}
	return numbersText(ids[:]) + " (real, effective, saved, file system)"
}

func numbersText(ns []int) string {
	texts := make([]string, len(ns))
	for i, n := range ns {
		texts[i] = strconv.Itoa(n)
	}
	return strings.Join(texts, " ")
}

// capsText lists the sets that are not empty.
func capsText(caps map[string]string) string {
	var out []string
	for name, hex := range caps {
		if strings.Trim(hex, "0") != "" {
			out = append(out, name+"="+strings.TrimLeft(hex, "0"))
		}
	}
	sort.Strings(out)
	return strings.Join(out, " ")
}

func unconfined(threads []int) string {
	if len(threads) == 0 {
		return ""
	}
	return ", OTHER PRIVILEGES IN THREADS " + numbersText(threads)
}
