package main

import (
	"fmt"
	"strings"
)

// pick gives the rows to measure: all, those named (between commas), those whose
// names begin so, or none after it has listed them.
func pick(o options) (logins []row, stores []storeRow, err error) {
	if o.row == "list" {
		for _, r := range loginRows() {
			fmt.Printf("%-26s %s\n", r.name, r.title)
		}
		for _, r := range storeRows() {
			fmt.Printf("%-26s %s\n", r.name, r.title)
		}
		return nil, nil, nil
	}
	exact := map[string]bool{}
	for _, name := range allNames() {
		exact[name] = true
	}
	named := func(name string) bool {
		for _, want := range strings.Split(o.row, ",") {
			if name == want || !exact[want] && strings.HasPrefix(name, want) {
				return true
			}
		}
		return false
	}
	for _, r := range loginRows() {
		if named(r.name) && (o.row != "" || !r.extra) {
			logins = append(logins, r)
		}
	}
	for _, r := range storeRows() {
		// A row that is named by its whole name is measured in any case.
		whole := strings.Contains(","+o.row+",", ","+r.name+",")
		if named(r.name) && (whole || !(r.million && !o.million) && !(r.middle && o.quick)) {
			stores = append(stores, r)
		}
	}
	if len(logins)+len(stores) == 0 {
		return nil, nil, fmt.Errorf("no row's name is, or begins with, %q; --row list names them", o.row)
	}
	return logins, stores, nil
}

// allNames is every row's name, in the order of the tables.
func allNames() []string {
	var all []string
	for _, r := range loginRows() {
		all = append(all, r.name)
	}
	for _, r := range storeRows() {
		all = append(all, r.name)
	}
	return all
}
