"""`lilong job …` and `lilong compute …`"""
