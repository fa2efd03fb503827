"What counts as a photo: files that are none may not take much memory or time to be refused, and good ones may not be refused"
import errno, io, os, struct, subprocess, sys, zlib
import numpy as np
import pytest
from PIL import Image
from tellapart.photo import Limits, NotAPhoto, OutOfResources, open_photo

posix = pytest.mark.skipif(os.name != 'posix', reason="limits a process as POSIX does")


def empty(file): file.touch()

def half_a_gigabyte(file):
    with file.open('wb') as f: f.write(b'\xff\xd8\xff'); f.truncate(500 * 2**20)

def many_megapixels(file): Image.new('1', (20_000, 10_000)).save(file, 'PNG')

def a_bomb(file):
    "A PNG that says it has 60,000 x 60,000 pixels"
    head = struct.pack('>IIBBBBB', 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = lambda kind, data: struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    file.write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(bytes(1000))) + chunk(b'IEND', b''))

def postscript(file): file.write_text('%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n')


@pytest.mark.parametrize('make, message', [
    (empty, 'photo.jpg is empty (0 bytes); choose another photo.'),
    (half_a_gigabyte, 'photo.jpg has 500 MB, more than the 50 MB allowed; make it smaller.'),
    (many_megapixels, 'photo.jpg has 200 megapixels, more than the 110 allowed; make it smaller.'),
    (a_bomb, 'photo.jpg has far too many pixels; make it smaller.'),
    (postscript, 'photo.jpg is no photo that we can read; save it as JPEG or PNG.')])
def test_refused_in_a_sentence(tmp_path, make, message):
    make(tmp_path/'photo.jpg')
    with pytest.raises(NotAPhoto) as e: open_photo(tmp_path/'photo.jpg')
    assert str(e.value) == message


@pytest.mark.parametrize('kind, mode', [
    *(('png', o) for o in ('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I;16')), *(('tiff', o) for o in ('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK', 'I;16')),
    *(('jpg', o) for o in ('L', 'RGB', 'CMYK')), *((kind, o) for kind in ('webp', 'heic', 'avif') for o in ('RGB', 'RGBA')), ('gif', 'P'), ('bmp', 'RGB')])
def test_opened_whatever_it_is_like(tmp_path, kind, mode):
    "A photo that is dark on the left and light on the right stays so in each format and mode that can hold it"
    im = Image.linear_gradient('L').rotate(90)
    im = im.convert('I').point(lambda v: v*257).convert('I;16') if mode == 'I;16' else im.convert(mode)
    im.save(tmp_path/f'photo.{kind}')
    dark,light = open_photo(tmp_path/f'photo.{kind}').convert('L').resize((2, 1), Image.Resampling.BOX).get_flattened_data()
    assert light - dark > 90


@pytest.mark.parametrize('kind', ['gif', 'webp', 'png', 'tiff', 'avif'])
def test_of_an_animation_the_first_picture_counts(tmp_path, kind):
    red, blue = (Image.new('RGB', (64, 48), o) for o in ('red', 'blue'))
    red.save(tmp_path/f'photo.{kind}', save_all=True, append_images=[blue])
    r, g, b = open_photo(tmp_path/f'photo.{kind}').getpixel((32, 24))
    assert r > 200 and g < 50 and b < 50


def jpeg(im, **kw):
    im.save(f := io.BytesIO(), 'JPEG', **kw)
    return f.getvalue()


def exif(*entries):
    "EXIF of entries as (tag, type, value in bytes of which each takes `size`, size); values over 4 bytes lie behind"
    head,behind,start = b'',b'',8 + 2 + 12*len(entries) + 4
    for tag,kind,value,size in entries:
        head += struct.pack('<HHI', tag, kind, len(value)//size)
        if len(value) <= 4: head += value.ljust(4, b'\0')
        else:
            head += struct.pack('<I', start + len(behind))
            behind += value
    return b'Exif\0\0II*\0\x08\0\0\0' + struct.pack('<H', len(entries)) + head + bytes(4) + behind


SHORT,ODD = (0x0112, 3, b'\x06\0', 2), b'no number at all'
@pytest.mark.parametrize('entries', [[SHORT], [(0x0112, 2, b'6\0', 1)], [(0x0112, 1, b'\x06', 1)], [(0x0112, 7, b'\x06', 1)], [(0x0112, 4, b'\x06\0\0\0', 4)], [(0x0112, 3, b'\x06\0\x01\0', 2)],
    [SHORT, (0x011a, 2, ODD, 1), (0x011b, 2, ODD, 1)], [SHORT, (0x011a, 7, ODD, 1)], [SHORT, (0x0128, 2, ODD, 1), (0x0132, 5, ODD, 8)], [SHORT, (0x8769, 4, b'\xff'*4, 4), (0x8825, 2, ODD, 1)]])
def test_a_photo_is_turned_however_odd_its_exif(entries):
    sideways = Image.linear_gradient('L').resize((64, 48)).convert('RGB') # dark above
    for kind in 'JPEG','WEBP','PNG':
        sideways.save(f := io.BytesIO(), kind, exif=exif(*entries))
        photo = open_photo(f.getvalue())
        assert photo.size == photo.info['size'] == (48, 64) and photo.getpixel((44, 32))[0] < 40 < 200 < photo.getpixel((3, 32))[0], kind


@pytest.mark.parametrize('turn', range(1, 9))
@pytest.mark.parametrize('compression', [None, 'tiff_lzw'])
def test_a_tiff_is_turned_once(tmp_path, turn, compression):
    Image.linear_gradient('L').resize((64, 48)).save(tmp_path/'photo.tif', compression=compression, tiffinfo={0x0112: turn})
    photo = open_photo(tmp_path/'photo.tif')
    assert photo.size == photo.info['size'] == ((48, 64) if turn > 4 else (64, 48))
    assert open_photo(Image.open(io.BytesIO((tmp_path/'photo.tif').read_bytes()))).tobytes() == photo.tobytes()
    x,y = {1: (32, 0), 2: (32, 0), 3: (32, 47), 4: (32, 47), 5: (0, 32), 6: (47, 32), 7: (47, 32), 8: (0, 32)}[turn] # where the dark edge is
    assert photo.getpixel((x, y))[0] < 20


def segment(kind, content): return b'\xff' + bytes([kind]) + struct.pack('>H', len(content) + 2) + content
def chunk(kind, content, good=True): return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content)^(not good))

@pytest.mark.parametrize('content', [b'MPF\0II*\0\x08\0\0\0' + b'\xff'*40, b'MPF\0II*\0\x08\0\0\0\x01\0\x01\xb0\x04\0\x01\0\0\0\x02\0\0\0' + bytes(4), b'ICC_PROFILE\0\x01', b'ICC_PROFILE\0\x02\x01nothing'])
def test_segments_that_say_nonsense(content):
    good = jpeg(Image.linear_gradient('L').convert('RGB'), exif=exif(SHORT))
    odd = good[:2] + segment(0xe2, content) + segment(0xed, b'Photoshop 3.0\x008BIM\x04') + segment(0xe1, b'http://ns.adobe.com/xap/1.0/\0<x') + good[2:]
    assert open_photo(odd).tobytes() == open_photo(good).tobytes()


@pytest.mark.parametrize('odd', [chunk(b'iTXt', b'a\0\1\0\0\0' + zlib.compress(bytes(10**7))), chunk(b'zTXt', b'a\0\0' + zlib.compress(bytes(10**7))), chunk(b'iCCP', b'a\0\0' + zlib.compress(bytes(10**7))),
    chunk(b'tEXt', b'a\0b', good=False), chunk(b'eXIf', b'nothing'), chunk(b'pHYs', b''), chunk(b'gAMA', b'1'), chunk(b'acTL', b'\0'*8), chunk(b'cHRM', b'1234')], ids=lambda o: o[4:8].decode())
def test_chunks_that_say_nonsense(odd):
    Image.linear_gradient('L').save(f := io.BytesIO(), 'PNG')
    good = f.getvalue()
    assert open_photo(good[:33] + odd + good[33:]).tobytes() == open_photo(good).tobytes()


def test_an_avif_with_exif_that_is_none(tmp_path):
    Image.linear_gradient('L').convert('RGB').save(f := io.BytesIO(), 'AVIF', exif=exif((0x010f, 2, b'Tellapart\0', 1)))
    odd = f.getvalue().replace(b'II*\0\x08', b'nothi')
    assert odd != f.getvalue() and open_photo(odd).format == 'AVIF'


def test_what_comes_back_carries_no_metadata_along():
    photo = Image.linear_gradient('L').convert('RGB')
    photo.save(f := io.BytesIO(), 'GIF', comment=b'x'*100_000)
    assert open_photo(f.getvalue()).info == dict(size=(256, 256))
    jpeg(open_photo(f.getvalue())) # a comment of that length would not go into a JPEG


def test_nothing_is_printed_about_metadata(tmp_path):
    good = jpeg(Image.linear_gradient('L').convert('RGB'))
    (tmp_path/'exif.jpg').write_bytes(good[:2] + segment(0xe1, exif(SHORT)[:22]) + good[2:])
    Image.linear_gradient('L').convert('RGB').save(f := io.BytesIO(), 'TIFF')
    (tmp_path/'samples.tif').write_bytes(f.getvalue().replace(struct.pack('<HHIH', 277, 3, 1, 3), struct.pack('<HHIH', 277, 3, 1, 999)))
    code = "import sys; from tellapart.photo import *\nfor o in sys.argv[1:]:\n  try: print(open_photo(o).size)\n  except NotAPhoto as e: print(e.reason)"
    run = subprocess.run([sys.executable, '-W', 'default', '-c', code, tmp_path/'exif.jpg', tmp_path/'samples.tif'], capture_output=True, text=True)
    assert run.stderr == '' and run.stdout.split('\n')[:2] == ['(256, 256)', 'no photo']


@posix
def test_what_the_system_says_is_passed_on(tmp_path):
    (tmp_path/'photo.jpg').write_bytes(jpeg(Image.new('RGB', (64, 64))))
    for file,code in (tmp_path/('x'*300 + '.jpg'), errno.ENAMETOOLONG), (tmp_path/'photo.jpg'/'below.jpg', errno.ENOTDIR), (tmp_path/'none.jpg', errno.ENOENT), (tmp_path, errno.EISDIR):
        with pytest.raises(OSError) as e: open_photo(file)
        assert e.value.errno == code and e.value.filename
    with pytest.raises(NotAPhoto, match="can't be the name of a file"): open_photo('a\0b.jpg')


@posix
def test_too_many_open_files_are_not_the_photos_fault(tmp_path):
    import resource
    (tmp_path/'photo.jpg').write_bytes(jpeg(Image.new('RGB', (64, 64))))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(OutOfResources) as e: open_photo(tmp_path/'photo.jpg')
    finally: resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert str(e.value).startswith("photo.jpg can't be opened now (Too many open files); ")
    assert open_photo(tmp_path/'photo.jpg').size == (64, 64)


@posix
def test_too_little_memory_is_not_the_photos_fault(tmp_path):
    Image.new('1', (10_000, 10_000)).save(tmp_path/'photo.png')
    code = """if True:
        import resource, sys
        from tellapart.photo import *
        used = int(open('/proc/self/statm').read().split()[0])*resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 60*2**20,)*2)
        try: open_photo(sys.argv[1])
        except OutOfResources as e: print(e)"""
    run = subprocess.run([sys.executable, '-c', code, tmp_path/'photo.png'], capture_output=True, text=True)
    assert run.stdout.startswith("photo.png can't be opened now (Cannot allocate memory); "), run.stderr


def test_a_project_may_let_in_more_pixels_than_pillow(tmp_path):
    many_megapixels(tmp_path/'photo.png')
    assert open_photo(tmp_path/'photo.png', limits=Limits(max_pixels=250_000_000)).size == (20_000, 10_000)
    Image.new('L', (20_000, 12_000)).save(tmp_path/'photo.jpg') # 240 megapixels, which Pillow refuses by itself
    assert open_photo(tmp_path/'photo.jpg', 640, Limits(max_pixels=250_000_000)).info['size'] == (20_000, 12_000)


def test_what_came_in_before_is_not_asked_again():
    for size in (1, 1), (28, 28), (300, 10): assert open_photo(Image.new('RGB', size), limits=None).size == open_photo(jpeg(Image.new('RGB', size)), limits=None).size == size
    with pytest.raises(NotAPhoto, match='broken'): open_photo(jpeg(Image.effect_noise((99, 99), 80))[:900], limits=None)
