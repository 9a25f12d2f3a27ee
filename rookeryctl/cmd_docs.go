package rookeryctl

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"rookery/docs/man"
	"rookery/internal/buildid"
	"rookery/rookeryctl/internal/control"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version and the build's id",
		Args:  usage(cobra.NoArgs, "rookeryctl version"),
		RunE: func(*cobra.Command, []string) error {
			if !a.json {
				fmt.Fprintf(a.out, "Rookery %s, build %s\n", buildid.Version, buildid.ID())
				return nil
			}
			body, err := json.Marshal(map[string]string{"version": buildid.Version, "build": buildid.ID()})
			if err != nil {
				return control.Errorf(control.ExitSoftware, "%v", err)
			}
			return a.print(body)
		},
	}
}

// pages lists the manual pages' file names.
func pages() []string {
	entries, err := man.Pages.ReadDir(".")
	if err != nil {
		return nil // an embedded folder is always there
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (a *app) manCommand() *cobra.Command {
	var raw bool
	c := &cobra.Command{
		Use:   "man [PAGE]",
		Short: "Show a manual page: of a program (authd, login, …) or of rookery.toml",
		Args:  usage(cobra.MaximumNArgs(1), "rookeryctl man [PAGE]"),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.listPages()
			}
			return a.page(args[0], raw)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return pages(), cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.Flags().BoolVar(&raw, "raw", false, "print the page's source, to be installed")
	return c
}

func (a *app) listPages() error {
	body, err := json.Marshal(pages())
	if err != nil {
		return control.Errorf(control.ExitSoftware, "%v", err)
	}
	return a.print(body)
}

func (a *app) page(name string, raw bool) error {
	var text []byte
	for _, file := range []string{name, name + ".8", "rookery-" + name + ".8", name + ".5"} {
		if b, err := man.Pages.ReadFile(file); err == nil {
			text = b
			break
		}
	}
	switch name {
	case "master":
		text, _ = man.Pages.ReadFile("rookery.8") // absent: the next lines say so
	case "settings", "config":
		text, _ = man.Pages.ReadFile("rookery.toml.5")
	}
	if text == nil {
		return control.Errorf(control.ExitUsage, "there is no page %s; there are %s", name, strings.Join(pages(), ", "))
	}
	if raw {
		_, err := a.out.Write(text)
		return err
	}
	if out, ok := a.out.(*os.File); ok && term.IsTerminal(int(out.Fd())) {
		if viewer, err := exec.LookPath("man"); err == nil {
			cmd := exec.Command(viewer, "-l", "-")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(string(text)), out, os.Stderr
			if cmd.Run() == nil {
				return nil
			}
		}
	}
	plainPage(a.out, string(text))
	return nil
}

// plainPage shows the few troff requests that our pages have as plain text.
func plainPage(w io.Writer, text string) {
	unescape := strings.NewReplacer(`\-`, "-", `\e`, `\`, `\&`, "")
	indent := ""
	for _, line := range strings.Split(text, "\n") {
		request, rest, _ := strings.Cut(line, " ")
		rest = unescape.Replace(rest)
		switch request {
		case ".TH", ".nh", ".ad", ".nf", ".fi", ".br":
		case ".SH", ".SS":
			indent = "    "
			fmt.Fprintf(w, "\n%s\n", rest)
		case ".PP", ".TP":
			indent = "    "
			fmt.Fprintln(w)
		case ".B":
			fmt.Fprintf(w, "    %s\n", rest)
			indent = "        "
		default:
			if strings.TrimSpace(line) != "" {
				fmt.Fprintf(w, "%s%s\n", indent, unescape.Replace(line))
			}
		}
	}
}
