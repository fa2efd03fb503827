"Which files are accepted as photos: invalid ones are refused at little cost in memory and time, valid ones are never refused"
import errno, io, os, struct, subprocess, sys, zlib
import numpy as np
import pytest
from PIL import Image
from tellapart.images import Limits, NotAPhoto, OutOfResources, open_photo, set_up_pillow

set_up_pillow() # to write HEIC
posix = pytest.mark.skipif(os.name != 'posix', reason="limits a process as POSIX does")


def empty(file): file.touch()

def half_a_gigabyte(file):
    with file.open('wb') as f: f.write(b'\xff\xd8\xff'); f.truncate(500 * 2**20)

def many_megapixels(file): Image.new('1', (20_000, 10_000)).save(file, 'PNG')

def a_bomb(file):
    "A PNG with 60,000 x 60,000 pixels in its header"
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
def test_refused_with_one_sentence(tmp_path, make, message):
    make(tmp_path/'photo.jpg')
    with pytest.raises(NotAPhoto) as e: open_photo(tmp_path/'photo.jpg')
    assert str(e.value) == message


@pytest.mark.parametrize('kind, mode', [
    *(('png', o) for o in ('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I;16')),
    *(('tiff', o) for o in ('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK', 'I;16')),
    *(('jpg', o) for o in ('L', 'RGB', 'CMYK')), *((kind, o) for kind in ('webp', 'heic', 'avif') for o in ('RGB', 'RGBA')),
    ('gif', 'P'), ('bmp', 'RGB')])
def test_formats_and_modes(tmp_path, kind, mode):
    "A photo that is dark on the left and light on the right stays so in each format and mode that can hold it"
    im = Image.linear_gradient('L').rotate(90)
    im = im.convert('I').point(lambda v: v*257).convert('I;16') if mode == 'I;16' else im.convert(mode)
    im.save(tmp_path/f'photo.{kind}')
    dark,light = open_photo(tmp_path/f'photo.{kind}').convert('L').resize((2, 1), Image.Resampling.BOX).get_flattened_data()
    assert light - dark > 90


@pytest.mark.parametrize('kind', ['gif', 'webp', 'png', 'tiff', 'avif'])
def test_the_first_frame_of_an_animation_is_used(tmp_path, kind):
    red, blue = (Image.new('RGB', (64, 48), o) for o in ('red', 'blue'))
    red.save(tmp_path/f'photo.{kind}', save_all=True, append_images=[blue])
    r, g, b = open_photo(tmp_path/f'photo.{kind}').getpixel((32, 24))
    assert r > 200 and g < 50 and b < 50


def jpeg(im, **kw):
    im.save(f := io.BytesIO(), 'JPEG', **kw)
    return f.getvalue()


def exif(*entries):
    "EXIF of entries as (tag, type, value as bytes, bytes of each item); a value over 4 bytes is stored after the entries"
    head,behind,start = b'',b'',8 + 2 + 12*len(entries) + 4
    for tag,kind,value,size in entries:
        head += struct.pack('<HHI', tag, kind, len(value)//size)
        if len(value) <= 4: head += value.ljust(4, b'\0')
        else:
            head += struct.pack('<I', start + len(behind))
            behind += value
    return b'Exif\0\0II*\0\x08\0\0\0' + struct.pack('<H', len(entries)) + head + bytes(4) + behind


SHORT,ODD = (0x0112, 3, b'\x06\0', 2), b'no number at all'
@pytest.mark.parametrize('entries', [
    [SHORT], [(0x0112, 2, b'6\0', 1)], [(0x0112, 1, b'\x06', 1)], [(0x0112, 7, b'\x06', 1)], [(0x0112, 4, b'\x06\0\0\0', 4)],
    [(0x0112, 3, b'\x06\0\x01\0', 2)], [SHORT, (0x011a, 2, ODD, 1), (0x011b, 2, ODD, 1)], [SHORT, (0x011a, 7, ODD, 1)],
    [SHORT, (0x0128, 2, ODD, 1), (0x0132, 5, ODD, 8)], [SHORT, (0x8769, 4, b'\xff'*4, 4), (0x8825, 2, ODD, 1)]])
def test_the_orientation_is_applied_even_if_the_exif_is_invalid(entries):
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
    top,bottom,left,right = (32, 0),(32, 47),(0, 32),(47, 32)
    x,y = {1: top, 2: top, 3: bottom, 4: bottom, 5: left, 6: right, 7: right, 8: left}[turn] # where the dark edge is
    assert photo.getpixel((x, y))[0] < 20


def segment(kind, content): return b'\xff' + bytes([kind]) + struct.pack('>H', len(content) + 2) + content

def chunk(kind, content, good=True):
    "A PNG chunk, with the right checksum if `good`"
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content)^(not good))

@pytest.mark.parametrize('content', [
    b'MPF\0II*\0\x08\0\0\0' + b'\xff'*40, b'MPF\0II*\0\x08\0\0\0\x01\0\x01\xb0\x04\0\x01\0\0\0\x02\0\0\0' + bytes(4),
    b'ICC_PROFILE\0\x01', b'ICC_PROFILE\0\x02\x01nothing'])
def test_invalid_jpeg_segments(content):
    good = jpeg(Image.linear_gradient('L').convert('RGB'), exif=exif(SHORT))
    photoshop,xmp = segment(0xed, b'Photoshop 3.0\x008BIM\x04'),segment(0xe1, b'http://ns.adobe.com/xap/1.0/\0<x')
    odd = good[:2] + segment(0xe2, content) + photoshop + xmp + good[2:]
    assert open_photo(odd).tobytes() == open_photo(good).tobytes()


BOMB = zlib.compress(bytes(10**7))
@pytest.mark.parametrize('odd', [
    chunk(b'iTXt', b'a\0\1\0\0\0' + BOMB), chunk(b'zTXt', b'a\0\0' + BOMB), chunk(b'iCCP', b'a\0\0' + BOMB),
    chunk(b'tEXt', b'a\0b', good=False), chunk(b'eXIf', b'nothing'), chunk(b'pHYs', b''), chunk(b'gAMA', b'1'), chunk(b'acTL', b'\0'*8),
    chunk(b'cHRM', b'1234')], ids=lambda o: o[4:8].decode())
def test_invalid_png_chunks(odd):
    Image.linear_gradient('L').save(f := io.BytesIO(), 'PNG')
    good = f.getvalue()
    assert open_photo(good[:33] + odd + good[33:]).tobytes() == open_photo(good).tobytes()


def test_an_avif_with_invalid_exif(tmp_path):
    Image.linear_gradient('L').convert('RGB').save(f := io.BytesIO(), 'AVIF', exif=exif((0x010f, 2, b'Tellapart\0', 1)))
    odd = f.getvalue().replace(b'II*\0\x08', b'nothi')
    assert odd != f.getvalue() and open_photo(odd).format == 'AVIF'


def test_the_result_has_no_metadata():
    photo = Image.linear_gradient('L').convert('RGB')
    photo.save(f := io.BytesIO(), 'GIF', comment=b'x'*100_000)
    assert open_photo(f.getvalue()).info == dict(size=(256, 256), notes=[])
    jpeg(open_photo(f.getvalue())) # a comment of that length would not go into a JPEG


def test_nothing_is_printed_about_metadata(tmp_path):
    good = jpeg(Image.linear_gradient('L').convert('RGB'))
    (tmp_path/'exif.jpg').write_bytes(good[:2] + segment(0xe1, exif(SHORT)[:22]) + good[2:])
    Image.linear_gradient('L').convert('RGB').save(f := io.BytesIO(), 'TIFF')
    (tmp_path/'samples.tif').write_bytes(f.getvalue().replace(struct.pack('<HHIH', 277, 3, 1, 3), struct.pack('<HHIH', 277, 3, 1, 999)))
    (tmp_path/'packed.tif').write_bytes(tiff([(LARGE, {259: 8, 274: 999, 296: 77, 40_000: 1})]))
    code = """if True:
        import sys
        from tellapart.images import *
        for o in sys.argv[1:]:
            try: print(open_photo(o).size)
            except NotAPhoto as e: print(e.reason)"""
    files = [tmp_path/o for o in ('exif.jpg', 'samples.tif', 'packed.tif')]
    run = subprocess.run([sys.executable, '-W', 'default', '-c', code, *files], capture_output=True, text=True)
    assert run.stderr == '' and run.stdout.splitlines() == ['(256, 256)', 'no photo', '(96, 64)']


@posix
def test_errors_of_the_system_are_passed_on(tmp_path):
    (tmp_path/'photo.jpg').write_bytes(jpeg(Image.new('RGB', (64, 64))))
    for file,code in [(tmp_path/('x'*300 + '.jpg'), errno.ENAMETOOLONG), (tmp_path/'photo.jpg'/'below.jpg', errno.ENOTDIR),
                      (tmp_path/'none.jpg', errno.ENOENT), (tmp_path, errno.EISDIR)]:
        with pytest.raises(OSError) as e: open_photo(file)
        assert e.value.errno == code and e.value.filename
    with pytest.raises(NotAPhoto, match="can't be the name of a file"): open_photo('a\0b.jpg')


@posix
def test_too_many_open_files(tmp_path):
    import resource
    (tmp_path/'photo.jpg').write_bytes(jpeg(Image.new('RGB', (64, 64))))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(OutOfResources) as e: open_photo(tmp_path/'photo.jpg')
    finally: resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert str(e.value).startswith("photo.jpg can't be opened now (Too many open files); ")
    assert open_photo(tmp_path/'photo.jpg').size == (64, 64)


@pytest.mark.skipif(not os.path.exists('/proc/self/statm'), reason="limits a process as Linux does")
def test_too_little_memory(tmp_path):
    Image.new('1', (10_000, 10_000)).save(tmp_path/'photo.png')
    code = """if True:
        import resource, sys
        from tellapart.images import *
        used = int(open('/proc/self/statm').read().split()[0])*resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 60*2**20,)*2)
        try: open_photo(sys.argv[1])
        except OutOfResources as e: print(e)"""
    run = subprocess.run([sys.executable, '-c', code, tmp_path/'photo.png'], capture_output=True, text=True)
    assert run.stdout.startswith("photo.png can't be opened now (Cannot allocate memory); "), run.stderr


def run_python(code, *args):
    "What a fresh Python prints"
    return subprocess.run([sys.executable, '-c', code, *args], capture_output=True, text=True, check=True).stdout


def test_importing_changes_nothing_for_others():
    code = """if True:
        import logging, warnings, numpy
        from PIL import Image
        import sys
        state = lambda: (list(warnings.filters), Image.MAX_IMAGE_PIXELS, logging.getLogger('PIL').handlers[:], 'HEIF' in Image.OPEN)
        before = state()
        import tellapart.images
        print(state() == before)"""
    assert run_python(code).strip() == 'True'


@posix
def test_a_first_photo_that_comes_when_no_file_can_be_opened(tmp_path):
    "Pillow's plugins are loaded with the first photo; those that can't be then aren't missing later"
    Image.linear_gradient('L').convert('RGB').save(tmp_path/'photo.avif')
    code = """if True:
        import resource, sys
        from tellapart.images import *
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try: open_photo(sys.argv[1])
        except OutOfResources as e: print('out of resources')
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        print(open_photo(sys.argv[1]).format)"""
    assert run_python(code, tmp_path/'photo.avif').split('\n') == ['out of resources', 'AVIF', '']


def test_threads_may_open_their_first_photos_at_once(tmp_path):
    Image.linear_gradient('L').convert('RGB').save(tmp_path/'photo.heic')
    code = """if True:
        import sys
        from concurrent.futures import ThreadPoolExecutor
        from tellapart.images import *
        with ThreadPoolExecutor(8) as pool: print({o.format for o in pool.map(open_photo, [sys.argv[1]]*32)})"""
    assert run_python(code, tmp_path/'photo.heic').strip() == "{'HEIF'}"


@pytest.mark.long
def test_a_project_may_allow_more_pixels_than_pillow(tmp_path):
    many_megapixels(tmp_path/'photo.png')
    assert open_photo(tmp_path/'photo.png', limits=Limits(max_pixels=250_000_000)).size == (20_000, 10_000)
    Image.new('L', (20_000, 12_000)).save(tmp_path/'photo.jpg') # 240 megapixels, which Pillow refuses by itself
    assert open_photo(tmp_path/'photo.jpg', 640, Limits(max_pixels=250_000_000)).info['size'] == (20_000, 12_000)


def test_without_limits_any_size_is_opened():
    for size in (1, 1), (28, 28), (300, 10):
        for source in Image.new('RGB', size), jpeg(Image.new('RGB', size)): assert open_photo(source, limits=None).size == size
    with pytest.raises(NotAPhoto, match='broken'): open_photo(jpeg(Image.effect_noise((99, 99), 80))[:900], limits=None)


RAMP = np.linspace(0, 1, 96)[None].repeat(64, 0) # dark on the left, light on the right

def is_ramp(photo):
    levels = np.asarray(photo.convert('L'), int)[32]
    return levels[2] < 15 and abs(levels[48] - 128) < 12 and levels[93] > 240


def tiff(pages, order='<', inside=False):
    "A TIFF of pages, each (pixels, more tags: tag → number); if `inside`, all but the first are in its SubIFDs, as in a DNG"
    def ifd(pixels, tags, at, below):
        bands = pixels.shape[2] if pixels.ndim == 3 else 1
        bits,kind = pixels.dtype.itemsize*8,dict(u=1, i=2, f=3)[pixels.dtype.kind]
        data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        if tags.get(259) == 8: data = zlib.compress(data)
        height,width = pixels.shape[:2]
        tags = {256: width, 257: height, 258: [bits]*bands, 259: 1, 262: 2 if bands > 1 else 1, 273: at,
                277: bands, 278: height, 279: len(data), 339: [kind]*bands} | tags
        if below: tags[330] = [0]*below
        where,extra,entries = at + len(data),b'',[]
        start = where + 2 + 12*len(tags) + 4
        for tag,value in sorted(tags.items()):
            values = value if isinstance(value, list) else [value]
            kind = 4 if tag in (273, 279, 330) else 3
            packed = struct.pack(f"{order}{len(values)}{'HI'[kind == 4]}", *values)
            if len(packed) > 4: packed,extra = struct.pack(f'{order}I', start + len(extra)),extra + packed
            entries.append(struct.pack(f'{order}HHI', tag, kind, len(values)) + packed.ljust(4, b'\0'))
        return data + struct.pack(f'{order}H', len(tags)) + b''.join(entries) + bytes(4) + extra, where # no next IFD
    made,offsets = b'',[]
    for i,(pixels,tags) in enumerate(pages):
        start = 8 + len(made)
        piece,where = ifd(pixels, tags, start, (len(pages) - 1)*(inside and i == 0))
        offsets.append(where)
        made += piece
    content = bytearray((b'II*\0' if order == '<' else b'MM\0*') + struct.pack(f'{order}I', offsets[0]) + made)
    n = lambda at: struct.unpack_from(f'{order}H', content, at)[0]
    if inside:
        entry = next(at for at in range(offsets[0] + 2, offsets[0] + 2 + 12*n(offsets[0]), 12) if n(at) == 330)
        at = entry + 8 if len(offsets) == 2 else struct.unpack_from(f'{order}I', content, entry + 8)[0]
        struct.pack_into(f'{order}{len(offsets) - 1}I', content, at, *offsets[1:])
    else:
        for a,b in zip(offsets, offsets[1:]): struct.pack_into(f'{order}I', content, a + 2 + 12*n(a), b)
    return bytes(content)


def deep_png(pixels):
    "A PNG with 16 bits per channel, grey or RGB"
    head = struct.pack('>IIBBBBB', pixels.shape[1], pixels.shape[0], 16, {2: 0, 3: 2}[pixels.ndim], 0, 0, 0)
    rows = b''.join(b'\0' + o.astype('>u2').tobytes() for o in pixels)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')


GUESSED = ['brightness guessed']

@pytest.mark.parametrize('white, kind, notes', [
    (1, 'f4', []), (255, 'f4', []), (65535, 'f4', []), (37.5, 'f4', GUESSED), (1e9, 'f4', GUESSED),
    (255, 'i4', []), (65535, 'i4', []), (2e9, 'i4', GUESSED), (30_000, 'i2', []),
    (255, 'u2', []), (1023, 'u2', GUESSED), (4095, 'u2', GUESSED), (65535, 'u2', [])])
def test_brightness_of_grey_images_of_more_than_8_bits(white, kind, notes):
    pixels = (RAMP*white).astype(kind)
    files = [tiff([(pixels, {})])]
    if kind == 'u2': files += [deep_png(pixels), tiff([(pixels, {})], '>'), tiff([(pixels, {259: 8})])]
    for photo in map(open_photo, files):
        levels = np.asarray(photo.convert('L'), int)[32]
        if white == 30_000: assert levels[93] > 110 # in 16 bits that is not quite half of white
        else: assert is_ramp(photo)
        assert photo.info['notes'] == notes


@pytest.mark.parametrize('white, notes', [(255, []), (1023, GUESSED), (4095, GUESSED), (65535, [])])
@pytest.mark.parametrize('make', [deep_png, *(lambda o, order=order, how=how: tiff([(o, {259: how})], order)
                                              for order in '<>' for how in (1, 8))])
def test_brightness_of_rgb_images_of_16_bits(make, white, notes):
    pixels = (RAMP[..., None]*[1, .5, 1]*white).round().astype('u2')
    photo = open_photo(make(pixels))
    assert photo.info['notes'] == notes
    r,g,b = photo.getpixel((94, 9))
    assert r == b > 245 and abs(g - r/2) < 3 and max(photo.getpixel((1, 9))) < 8


def test_pixels_that_are_not_finite():
    pixels = RAMP.astype('f4').copy()
    pixels[0, :9] = np.nan, np.inf, -np.inf, *[np.nan]*6
    assert is_ramp(open_photo(tiff([(pixels, {})])))
    for value in np.nan, np.inf, 0, 1e38, -1e38: assert open_photo(tiff([(np.full((64, 64), value, 'f4'), {})])).size == (64, 64)


def test_a_hot_pixel_does_not_darken_the_others():
    pixels = (RAMP*4095).astype('u2')
    pixels[5, 5] = 65535
    assert is_ramp(open_photo(tiff([(pixels, {})])))


SMALL,LARGE = np.full((40, 40, 3), 200, 'u1'),(RAMP[..., None].repeat(3, 2)*255).astype('u1')
@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('inside', [False, True])
@pytest.mark.parametrize('others', [[], [SMALL]])
def test_the_largest_image_in_a_tiff_is_used(order, inside, others):
    photo = open_photo(tiff([(SMALL, {}), *((o, {}) for o in others), (LARGE, {})], order, inside))
    assert photo.size == (96, 64) and is_ramp(photo)
    turned = open_photo(tiff([(SMALL, {274: 3}), (LARGE, {})], order, inside)) # as a DNG says it for all
    assert is_ramp(turned.rotate(180))


def test_size_and_number_of_images_in_a_tiff_are_limited():
    content = tiff([(SMALL, {}), (LARGE, {})])
    entry = lambda tag, n: struct.pack('<HHIH', tag, 3, 1, n)
    for tag,n in (256, 96), (257, 64): content = content.replace(entry(tag, n), entry(tag, 60_000))
    with pytest.raises(NotAPhoto, match='too many pixels'): open_photo(content)
    assert open_photo(tiff([(SMALL, {})]*300)).size == (40, 40)


def scene(size=(400, 300)):
    "An image that compresses like a photo"
    noise = np.random.default_rng(0).normal(128, 90, (size[1]//8, size[0]//8)).clip(0, 255).astype('uint8')
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert('RGB')

@pytest.mark.parametrize('how', [{}, dict(subsampling=0), dict(optimize=True), dict(restart_marker_rows=1), dict(quality=40)], ids=str)
def test_a_jpeg_without_its_last_bytes(how):
    whole = jpeg(scene(), **how)
    for cut in 1, 2, 3, 9, 100, len(whole)//30:
        for size in None, 60:
            photo = open_photo(whole[:-cut], size)
            # Without its end marker alone, 1 JPEG of 40 decodes: its last byte is nearly all padding, and nothing is missing.
            assert photo.info['size'] == (400, 300) and (photo.info['notes'] == ['cut short'] or cut < 3)
            off = np.abs(np.asarray(photo, int) - np.asarray(open_photo(whole, size)))[:int(.9*photo.height)] # what is there is right
            assert off.max() < 40
    for part in .1, .3, .5, .8:
        for size in None, 60:
            with pytest.raises(NotAPhoto, match='broken'): open_photo(whole[:int(part*len(whole))], size)


def test_a_progressive_jpeg_without_its_last_scans():
    whole = jpeg(scene(), progressive=True, quality=90)
    scans = [i for i in range(len(whole)) if whole[i:i+2] == b'\xff\xda']
    for end in len(whole) - 1, len(whole) - 2, len(whole) - 100, (scans[-1] + len(whole))//2, scans[-1], scans[-2] + 20:
        for size in None, 60: assert open_photo(whole[:end], size).info == dict(size=(400, 300), notes=['cut short'])
    for end in scans[0], scans[1], scans[1] + 30:
        for size in None, 60:
            with pytest.raises(NotAPhoto, match='broken'): open_photo(whole[:end], size)


def test_a_photo_with_a_grey_bottom_is_not_taken_for_an_incomplete_one():
    "Decoders fill missing rows with grey"
    grey = scene()
    grey.paste('#808080', (0, 100, 400, 300))
    whole = jpeg(grey)
    assert open_photo(whole).info['notes'] == [] and open_photo(whole[:-9]).info['notes'] == ['cut short']
    with pytest.raises(NotAPhoto, match='broken'): open_photo(whole[:int(.6*len(whole))])


def test_an_incomplete_jpeg_with_invalid_metadata():
    whole = jpeg(scene(), exif=exif(SHORT))
    photo = open_photo(whole[:2] + segment(0xe2, b'ICC_PROFILE\0\x01') + whole[2:-3])
    assert photo.size == (300, 400) and photo.info['notes'] == ['cut short']
