package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"
)

const patience = 500 * time.Millisecond

type conn struct {
	net.Conn
	in *bufio.Reader
}

// pool keeps connections open between questions; greet makes a new one ready.
type pool struct {
	addr  string
	idle  chan *conn
	greet func(*conn) error
}

func (p *pool) with(ask func(*conn) error) error {
	var c *conn
	select {
	case c = <-p.idle:
	default:
		raw, err := net.DialTimeout("tcp", p.addr, patience)
		if err != nil {
			return err
		}
		c = &conn{raw, bufio.NewReader(raw)}
		c.SetDeadline(time.Now().Add(patience))
		if p.greet != nil {
			if err := p.greet(c); err != nil {
				c.Close()
				return err
			}
		}
	}
	c.SetDeadline(time.Now().Add(patience))
	if err := ask(c); err != nil {
		c.Close()
		return err
	}
	select {
	case p.idle <- c:
	default:
		c.Close()
	}
	return nil
}

// kvPool speaks the protocol of Redis and Valkey.
func kvPool(addr string, size int) *pool {
	return &pool{addr: addr, idle: make(chan *conn, size)}
}

func (p *pool) incr(key string) (answer string, err error) {
	err = p.with(func(c *conn) error {
		fmt.Fprintf(c, "*2\r\n$4\r\nINCR\r\n$%d\r\n%s\r\n", len(key), key)
		answer, err = c.in.ReadString('\n')
		return err
	})
	return strings.TrimSpace(answer), err
}

// pgPool speaks the protocol of PostgreSQL, trusted by the server.
func pgPool(dsn string, size int) (*pool, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, err
	}
	greet := func(c *conn) error {
		body := "user\x00" + u.User.Username() + "\x00database\x00" + strings.Trim(u.Path, "/") + "\x00\x00"
		head := binary.BigEndian.AppendUint32(nil, uint32(len(body)+8))
		head = binary.BigEndian.AppendUint32(head, 196608)
		if _, err := c.Write(append(head, body...)); err != nil {
			return err
		}
		_, err := rows(c)
		return err
	}
	return &pool{addr: u.Host, idle: make(chan *conn, size), greet: greet}, nil
}

func (p *pool) query(sql string) (found []string, err error) {
	err = p.with(func(c *conn) error {
		message := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(len(sql)+5))
		if _, err := c.Write(append(append(message, sql...), 0)); err != nil {
			return err
		}
		found, err = rows(c)
		return err
	})
	return found, err
}

// rows reads messages until the server is ready, and returns the first column of each row.
func rows(c *conn) ([]string, error) {
	var found []string
	var failed error
	for {
		kind, err := c.in.ReadByte()
		if err != nil {
			return nil, err
		}
		var size uint32
		if err := binary.Read(c.in, binary.BigEndian, &size); err != nil {
			return nil, err
		}
		body := make([]byte, size-4)
		if _, err := io.ReadFull(c.in, body); err != nil {
			return nil, err
		}
		switch kind {
		case 'D':
			found = append(found, string(body[6:6+binary.BigEndian.Uint32(body[2:6])]))
		case 'E':
			failed = errors.New(strings.ReplaceAll(string(body), "\x00", " "))
			if found == nil && strings.Contains(string(body), "FATAL") {
				return nil, failed
			}
		case 'Z':
			return found, failed
		}
	}
}
