module notes/web

go 1.21
