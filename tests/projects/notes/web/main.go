// A notebook over HTTP. GET /notes/{id} reads a note and counts its readers; the store is asked over a pool.
package main

import (
	"bufio"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const patience = 400 * time.Millisecond

type conn struct {
	net.Conn
	in *bufio.Reader
}

// pool keeps connections open, as every client library of the store does.
type pool struct {
	addr string
	idle chan *conn
}

func newPool(addr string, size int) *pool {
	return &pool{addr: addr, idle: make(chan *conn, size)}
}

func (p *pool) get() (*conn, error) {
	select {
	case c := <-p.idle:
		return c, nil
	default:
	}
	raw, err := net.DialTimeout("tcp", p.addr, patience)
	if err != nil {
		return nil, err
	}
	return &conn{raw, bufio.NewReader(raw)}, nil
}

func (p *pool) put(c *conn) {
	select {
	case p.idle <- c:
	default:
		c.Close()
	}
}

// ask sends one command and reads an integer or an error.
func (p *pool) ask(words ...string) (string, error) {
	c, err := p.get()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	c.SetDeadline(time.Now().Add(patience))
	if _, err = c.Write([]byte(b.String())); err == nil {
		var line string
		if line, err = c.in.ReadString('\n'); err == nil {
			p.put(c)
			return strings.TrimSpace(line), nil
		}
	}
	c.Close()
	return "", err
}

func main() {
	size, err := strconv.Atoi(os.Getenv("POOL"))
	if err != nil {
		size = 4
	}
	store := newPool(os.Getenv("STORE_ADDR"), size)
	http.HandleFunc("/notes/", func(w http.ResponseWriter, r *http.Request) {
		seen, err := store.ask("INCR", "readers:"+strings.TrimPrefix(r.URL.Path, "/notes/"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "note %s, read %s times\n", r.URL.Path, seen)
	})
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "a notebook") })
	log.Println("listening on 8080")
	log.Fatal(http.ListenAndServe(":8080", nil))
}
