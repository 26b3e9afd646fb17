"""Render scenes of synth/blender.py with Cycles. Runs in Blender or in a python that has bpy, never within lgnet:

    blender --background --factory-startup --python blender_script.py -- --samples 32 --threads 0 SCENE.npz ...

Each SCENE.npz gives a SCENE.npy beside it: (H, W, 4) float32, linear RGB multiplied by alpha, and alpha. Blender 4.2 to
5.x. What the arrays of a scene hold is said in `blender.scene_arrays`. lgnet's camera frame is x right, y down, z forward;
Blender's is x right, y up, z backward, so that a point (x, y, z) is (x, -y, -z) there and the camera stays at the origin.
"""

import argparse
import contextlib
import sys
from math import pi, radians
from pathlib import Path

import bpy  # pyright: ignore[reportMissingImports]
import numpy as np
from mathutils import Vector  # pyright: ignore[reportMissingImports]

FLIP = np.array([1.0, -1.0, -1.0])
SUBSURFACE = 0.7
"""Share of the light that comes back from within skin. **choice**, with the scale: creases stay to be seen."""
SUBSURFACE_SCALE = 0.0015
"""Metres that red light goes in skin."""
SUBSURFACE_RADIUS = (1.0, 0.37, 0.19)
"""Red, green and blue in shares of it, as the mean free paths of Jensen et al. 2001 ("skin 1": 3.67, 1.37, 0.68 mm)."""


def main() -> None:
    """Render every scene named on the command line."""
    words = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("scenes", nargs="+", type=Path)
    args = parser.parse_args(words)
    for path in args.scenes:
        with np.load(path, allow_pickle=False) as arrays:
            data = {name: arrays[name] for name in arrays.files}
        bpy.ops.wm.read_factory_settings(use_empty=True)
        scene = bpy.context.scene
        set_camera(scene, data["camera"])
        set_engine(scene, args.samples, args.threads)
        set_lights(scene, data["lights"])
        set_meshes(scene, data)
        render(scene, path)
        print(f"lgnet has rendered {path.name}", flush=True)


def set_camera(scene, camera: np.ndarray) -> None:
    """A pinhole camera at the origin. Blender's picture ends half a pixel beyond the outer pixels' centres."""
    fx, fy, cx, cy, width, height = (float(v) for v in camera)
    own = bpy.data.cameras.new("camera")
    own.sensor_fit, own.sensor_width = "HORIZONTAL", 36.0
    own.lens = fx * 36.0 / width
    own.shift_x = ((width - 1) / 2 - cx) / width
    # shifts are shares of the width as it is seen, in which pixels that are not square count as they are
    own.shift_y = (cy - (height - 1) / 2) / width * fx / fy
    own.clip_start, own.clip_end = 0.005, 100.0
    scene.camera = bpy.data.objects.new("camera", own)
    scene.collection.objects.link(scene.camera)
    settings = scene.render
    settings.resolution_x, settings.resolution_y, settings.resolution_percentage = int(width), int(height), 100
    settings.pixel_aspect_x, settings.pixel_aspect_y = max(fy / fx, 1.0), max(fx / fy, 1.0)


def set_engine(scene, samples: int, threads: int) -> None:
    """Cycles on the processor, the same picture every time, nothing behind the meshes."""
    scene.render.engine = "CYCLES"
    scene.render.film_transparent = True
    scene.render.use_persistent_data = False
    if threads:
        scene.render.threads_mode, scene.render.threads = "FIXED", threads
    own = scene.cycles
    own.device, own.samples, own.seed = "CPU", samples, 0
    own.use_adaptive_sampling = False
    own.max_bounces, own.diffuse_bounces, own.glossy_bounces = 6, 3, 2
    own.sample_clamp_indirect = 4.0
    own.use_denoising = False
    with contextlib.suppress(TypeError):  # a Blender built without it
        own.denoiser = "OPENIMAGEDENOISE"
        own.denoising_input_passes = "RGB_ALBEDO_NORMAL"
        own.denoising_prefilter = "FAST"
        own.use_denoising = True
    scene.view_settings.view_transform = "Raw"


def set_lights(scene, lights: np.ndarray) -> None:
    """Key and fill as suns of some apparent size, sky and ground as the world."""
    key_travel, key, fill_towards, fill, sky, ground, (soft, _, _) = lights
    _sun(scene, "key", key_travel * FLIP, key, soft)
    _sun(scene, "fill", -fill_towards * FLIP, fill, 60.0)
    world = bpy.data.worlds.new("world")
    scene.world = world
    if bpy.app.version < (5, 0):  # from 5 on there always are nodes
        world.use_nodes = True
    world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", 64  # it is smooth: seconds are saved
    nodes, links = world.node_tree.nodes, world.node_tree.links
    nodes.clear()
    place, split = nodes.new("ShaderNodeTexCoord"), nodes.new("ShaderNodeSeparateXYZ")
    blend, mix = nodes.new("ShaderNodeMapRange"), nodes.new("ShaderNodeMix")
    shine, out = nodes.new("ShaderNodeBackground"), nodes.new("ShaderNodeOutputWorld")
    mix.data_type = "RGBA"
    links.new(place.outputs["Generated"], split.inputs[0])
    links.new(split.outputs["Y"], blend.inputs["Value"])
    blend.inputs["From Min"].default_value, blend.inputs["From Max"].default_value = -0.1, 0.1
    links.new(blend.outputs["Result"], mix.inputs[0])
    colours = [socket for socket in mix.inputs if socket.type == "RGBA"]
    colours[0].default_value, colours[1].default_value = (*ground, 1), (*sky, 1)
    links.new(next(socket for socket in mix.outputs if socket.type == "RGBA"), shine.inputs["Color"])
    links.new(shine.outputs[0], out.inputs["Surface"])


def _sun(scene, name: str, travel: np.ndarray, colour: np.ndarray, size: float) -> None:
    """`colour` (3,) is the light that a white dull surface sends back where the sun stands straight above it."""
    strongest = float(colour.max())
    if strongest <= 0:
        return
    light = bpy.data.lights.new(name, "SUN")
    light.energy, light.color, light.angle = pi * strongest, colour / strongest, radians(size)
    lamp = bpy.data.objects.new(name, light)
    lamp.rotation_mode = "QUATERNION"
    lamp.rotation_quaternion = Vector(travel).to_track_quat("-Z", "Y")
    scene.collection.objects.link(lamp)


def set_meshes(scene, data: dict) -> None:
    """One object a mesh, with its materials: textured where it has texels, and plain."""
    vertices = data["vertices"] * FLIP
    vertex = face = 0
    for number, (vertex_count, face_count) in enumerate(data["counts"]):
        skin, metal, casts_shadow, texture = data["materials"][number]
        points, corners = slice(vertex, vertex + vertex_count), slice(face, face + face_count)
        mesh = bpy.data.meshes.new(f"mesh{number}")
        mesh.from_pydata(vertices[points].tolist(), [], (data["faces"][corners] - vertex).tolist())
        mesh.polygons.foreach_set("use_smooth", np.ones(face_count, bool))
        for name in ("colour", "gloss", "rest"):
            own = mesh.attributes.new(name, "FLOAT_VECTOR", "POINT")
            own.data.foreach_set("vector", np.ascontiguousarray(data[name][points], np.float32).ravel())
        mesh.materials.append(material(data, number, skin, metal, -1))
        if texture >= 0:
            texel = data["texel"][corners]
            own = mesh.attributes.new("texel", "FLOAT2", "CORNER")
            own.data.foreach_set("vector", np.ascontiguousarray(texel, np.float32).ravel())
            mesh.materials.append(material(data, number, skin, metal, int(texture)))
            mesh.polygons.foreach_set("material_index", (texel[:, 0, 0] >= 0).astype(np.int32))
        thing = bpy.data.objects.new(mesh.name, mesh)
        thing.visible_shadow = bool(casts_shadow)
        scene.collection.objects.link(thing)
        vertex, face = vertex + vertex_count, face + face_count


def material(data: dict, number: int, skin: float, metal: float, texture: int):
    """Principled BSDF over the mesh's attributes and, unless `texture` is -1, its textures."""
    made = bpy.data.materials.new(f"material{number}.{texture}")
    if bpy.app.version < (5, 0):
        made.use_nodes = True
    tree = made.node_tree
    bsdf = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    colour, gloss = _attribute(tree, "colour"), _separate(tree, _attribute(tree, "gloss"))
    rough = _number(tree, 0.5 if skin else 0.25 if metal else 0.6)
    shine = gloss["X"]
    if texture >= 0:
        tint, _ = _picture(tree, data[f"tint_{texture}"])
        paint, nail = _picture(tree, data[f"paint_{texture}"])
        normal, _ = _picture(tree, data[f"normal_{texture}"])
        colour = _vector(tree, "ADD", _vector(tree, "MULTIPLY", colour, tint), paint)
        rough = _math(tree, "SUBTRACT", rough, _math(tree, "MULTIPLY", nail, 0.2))
        shine = _math(tree, "ADD", shine, _math(tree, "MULTIPLY", nail, 0.1))
        bend = tree.nodes.new("ShaderNodeNormalMap")
        bend.space, bend.uv_map = "TANGENT", "texel"
        tree.links.new(normal, bend.inputs["Color"])
        tree.links.new(bend.outputs["Normal"], bsdf.inputs["Normal"])
    # the mottle of cloth and skin: 1 + m (n - 0.5) 2 with noise n about 0.5
    noise = tree.nodes.new("ShaderNodeTexNoise")
    noise.inputs["Scale"].default_value, noise.inputs["Detail"].default_value = 120.0, 3.0
    tree.links.new(_attribute(tree, "rest"), noise.inputs["Vector"])
    centred = _math(tree, "SUBTRACT", noise.outputs[0], 0.5)
    uneven = _math(tree, "ADD", _math(tree, "MULTIPLY", _math(tree, "MULTIPLY", centred, gloss["Z"]), 2.0), 1.0)
    scaled = tree.nodes.new("ShaderNodeVectorMath")
    scaled.operation = "SCALE"
    tree.links.new(colour, scaled.inputs[0])
    tree.links.new(uneven, scaled.inputs["Scale"])
    tree.links.new(scaled.outputs[0], bsdf.inputs["Base Color"])
    tree.links.new(rough, bsdf.inputs["Roughness"])
    # a highlight of roughness 0.5 is then about as bright as that of our strength; 0.5 there is a refraction of 1.5
    tree.links.new(_math(tree, "MINIMUM", _math(tree, "MULTIPLY", shine, 4.0), 1.0), bsdf.inputs["Specular IOR Level"])
    bsdf.inputs["Metallic"].default_value = metal
    if skin:
        bsdf.subsurface_method = "RANDOM_WALK_SKIN"
        bsdf.inputs["Subsurface Weight"].default_value = SUBSURFACE
        bsdf.inputs["Subsurface Radius"].default_value = SUBSURFACE_RADIUS
        bsdf.inputs["Subsurface Scale"].default_value = SUBSURFACE_SCALE
    return made


def _attribute(tree, name: str):
    node = tree.nodes.new("ShaderNodeAttribute")
    node.attribute_type, node.attribute_name = "GEOMETRY", name
    return node.outputs["Vector"]


def _separate(tree, vector) -> dict:
    node = tree.nodes.new("ShaderNodeSeparateXYZ")
    tree.links.new(vector, node.inputs[0])
    return {name: node.outputs[name] for name in "XYZ"}


def _number(tree, value: float):
    node = tree.nodes.new("ShaderNodeValue")
    node.outputs[0].default_value = value
    return node.outputs[0]


def _math(tree, operation: str, one, two):
    node = tree.nodes.new("ShaderNodeMath")
    node.operation = operation
    return _joined(tree, node, one, two)


def _vector(tree, operation: str, one, two):
    node = tree.nodes.new("ShaderNodeVectorMath")
    node.operation = operation
    return _joined(tree, node, one, two)


def _joined(tree, node, *values):
    for socket, value in zip(node.inputs, values):
        if isinstance(value, float):
            socket.default_value = value
        else:
            tree.links.new(value, socket)
    return node.outputs[0]


def _picture(tree, pixels: np.ndarray):
    """Sockets of colour and alpha of (S, S, 3 or 4), rows from below, at the texels of the mesh; values as they are."""
    size = len(pixels)
    rgba = np.ones((size, size, 4), np.float32)
    rgba[..., : pixels.shape[2]] = pixels
    image = bpy.data.images.new("texture", size, size, alpha=True, float_buffer=True)
    image.colorspace_settings.name = "Non-Color"
    image.alpha_mode = "CHANNEL_PACKED"
    image.pixels.foreach_set(rgba.ravel())
    image.update()
    node, place = tree.nodes.new("ShaderNodeTexImage"), tree.nodes.new("ShaderNodeUVMap")
    node.image, node.extension, place.uv_map = image, "EXTEND", "texel"
    tree.links.new(place.outputs[0], node.inputs[0])
    return node.outputs["Color"], node.outputs["Alpha"]


def render(scene, path: Path) -> None:
    """Render into an OpenEXR, which is light as it is, and from there into an array, rows from above."""
    file = path.with_suffix(".exr")
    settings = scene.render.image_settings
    settings.file_format, settings.color_mode, settings.color_depth = "OPEN_EXR", "RGBA", "32"
    scene.render.filepath = str(file)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(file))
    image.colorspace_settings.name = "Non-Color"
    image.alpha_mode = "CHANNEL_PACKED"  # as it is in the file: multiplied
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    np.save(path.with_suffix(".npy"), pixels.reshape(height, width, 4)[::-1])
    file.unlink()


if __name__ == "__main__":
    main()
