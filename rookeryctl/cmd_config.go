package rookeryctl

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"rookery/internal/confload"
	"rookery/internal/settings"
	"rookery/rookeryctl/internal/control"
)

// configCommand shows and checks the configuration, without the server.
func (a *app) configCommand() *cobra.Command {
	var changed bool
	c := &cobra.Command{
		Use:   "config [-n] [SETTING…]",
		Short: "Show each setting with the file and line that it comes from",
		Long:  "Show each setting with the file and line that it comes from. Secrets are hidden. With names: only those settings or tables.",
		RunE:  func(_ *cobra.Command, args []string) error { return a.showConfig(changed, args) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, d := range settings.All() {
				names = append(names, d.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.Flags().BoolVarP(&changed, "non-default", "n", false, "only what is not default")
	c.AddCommand(&cobra.Command{
		Use:   "check",
		Short: "Say what is wrong in the configuration, with file and line",
		Args:  usage(cobra.NoArgs, "rookeryctl config check"),
		RunE:  func(*cobra.Command, []string) error { return a.checkConfig() },
	})
	return c
}

// shownSetting is one line of the output.
type shownSetting struct {
	Name    string `json:"name"`
	Value   string `json:"value"` // as in a file
	Default bool   `json:"default"`
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Table   string `json:"table,omitempty"` // "passdb/NAME" for a field
}

func (a *app) showConfig(changed bool, names []string) error {
	r, err := a.load()
	if err != nil {
		return err
	}
	for _, name := range names {
		if settings.Lookup(name) == nil && settings.LookupTable(name) == nil {
			return control.Errorf(control.ExitUsage, "%s", unknownName(name))
		}
	}
	rows := collect(r, changed, names)
	if a.json {
		body, err := json.Marshal(rows)
		if err != nil {
			return control.Errorf(control.ExitSoftware, "%v", err)
		}
		if err := a.print(body); err != nil {
			return err
		}
	} else {
		writeConfig(a.out, r, rows)
	}
	if err := r.Err(); err != nil {
		return control.Errorf(control.ExitConfig, "this configuration has errors; the server would not take it:\n%v", err)
	}
	return nil
}

func unknownName(name string) string {
	var all []string
	for _, d := range settings.All() {
		all = append(all, d.Name)
	}
	if near := settings.Nearest(name, all); near != "" {
		return fmt.Sprintf("there is no setting %s; did you mean %s?", name, near)
	}
	return fmt.Sprintf("there is no setting or table %s", name)
}

// collect lists what is to be shown: settings, then the rows' fields.
func collect(r *confload.Result, changed bool, names []string) []shownSetting {
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	rows := []shownSetting{}
	for _, d := range settings.All() {
		isDefault := r.Set.IsDefault(d)
		if len(names) > 0 && !wanted[d.Name] || changed && isDefault {
			continue
		}
		at := r.Sources[d.Name]
		rows = append(rows, shownSetting{Name: d.Name, Value: d.ShowHidden(r.Set.Value(d)), Default: isDefault, File: at.File, Line: at.Line})
	}
	for _, t := range settings.Tables() {
		if len(names) > 0 && !wanted[t.Name] {
			continue
		}
		for _, row := range r.Set.Rows(t.Name) {
			id := t.Name + "/" + row.Name
			rows = append(rows, rowFields(t, row, id, r.Sources[id])...)
		}
	}
	return rows
}

func rowFields(t *settings.Table, row settings.Row, id string, at confload.Source) []shownSetting {
	var out []shownSetting
	for _, d := range t.Fields {
		if v, ok := row.Values[d.Name]; ok {
			out = append(out, shownSetting{Name: d.Name, Value: d.ShowHidden(v), File: at.File, Line: at.Line, Table: id})
		}
	}
	for _, sub := range row.Sub {
		out = append(out, rowFields(t.Sub, sub, id+"/"+sub.Name, at)...)
	}
	return out
}

// writeConfig prints TOML with the places as comments: it can be read back.
func writeConfig(w io.Writer, r *confload.Result, rows []shownSetting) {
	width := 0
	for _, row := range rows {
		if n := len(row.Name) + len(row.Value) + 3; row.Table == "" && n <= 60 {
			width = max(width, n)
		}
	}
	table := ""
	for _, row := range rows {
		if row.Table != "" {
			if row.Table != table {
				table = row.Table
				parts := strings.Split(table, "/")
				header := parts[0]
				if len(parts) > 2 {
					header += ".mailbox"
				}
				fmt.Fprintf(w, "\n[[%s]]  # %s:%d\n", header, row.File, row.Line)
			}
			fmt.Fprintf(w, "%s = %s\n", row.Name, row.Value)
			continue
		}
		place := "default"
		if row.File != "" {
			place = fmt.Sprintf("%s:%d", row.File, row.Line)
		}
		fmt.Fprintf(w, "%-*s  # %s\n", width, row.Name+" = "+row.Value, place)
	}
}

func (a *app) checkConfig() error {
	r, err := a.load()
	if err != nil {
		return err
	}
	if a.json {
		diags := r.Diags
		if diags == nil {
			diags = []confload.Diag{}
		}
		body, err := json.Marshal(diags)
		if err != nil {
			return control.Errorf(control.ExitSoftware, "%v", err)
		}
		if err := a.print(body); err != nil {
			return err
		}
	} else {
		for _, d := range r.Diags {
			fmt.Fprintln(a.out, d)
		}
	}
	if r.Err() != nil {
		return &control.Error{Exit: control.ExitConfig}
	}
	if !a.json {
		fmt.Fprintf(a.out, "%d files, no errors.\n", len(r.Files))
	}
	return nil
}
